FROM busybox:1
RUN one \

  two \


  three
RUN four \
 # comment


