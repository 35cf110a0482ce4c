FROM scratch
COPY a b c
EXPOSE http
MAINTAINER x
