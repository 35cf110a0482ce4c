#% arg=HTTP_PROXY=http://p
#% arg=no_proxy=local
#% arg=https_proxy=http://s
FROM alpine
ARG no_proxy
ENV https_proxy=own
RUN fetch
