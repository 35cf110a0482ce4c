ARG TAG
FROM busybox:${TAG} AS a
ARG UNUSED
FROM scratch
