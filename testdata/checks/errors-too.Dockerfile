FROM scratch
COPY --chmod=99 a c
EXPOSE http
MAINTAINER x
