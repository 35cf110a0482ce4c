FROM a
ENV A=1 # one two=3
LABEL b=2 c
