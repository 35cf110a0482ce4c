FROM a
COPY x <<E
y
E
ADD <<"E F" /x
E F
