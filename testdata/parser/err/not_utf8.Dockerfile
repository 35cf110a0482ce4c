FROM a
RUN cafιθ x
COPY <<E /x
ÿ
E
