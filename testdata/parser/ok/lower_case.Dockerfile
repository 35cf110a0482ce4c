from a
run b
RUN c
