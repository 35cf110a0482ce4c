FROM a
RUN one \
  # comment
	two \  
   three\
four
RUN five\\
RUN six \
