FROM a
ENV a
ENV =b
ENV ""=b
ENV a="b
LABEL a=b c d=e f
ARG =x
ARG a='b
