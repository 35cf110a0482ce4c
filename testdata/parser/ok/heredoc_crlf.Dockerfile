FROM a
COPY <<E /x
a
E
RUN b
