FROM foreign
RUN true
