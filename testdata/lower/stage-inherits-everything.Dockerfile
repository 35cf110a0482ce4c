FROM full AS one
ENV X=1
LABEL a=one
USER root
FROM one
RUN a
LABEL b=two
