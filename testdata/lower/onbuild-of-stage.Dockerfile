FROM alpine AS parent
ONBUILD RUN triggered $V
ONBUILD ENV V=1
FROM parent AS child
RUN own
FROM child
RUN grandchild
