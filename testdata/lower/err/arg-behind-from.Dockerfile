#% target=0
FROM alpine:${V:?}
FROM alpine
ARG V=1
