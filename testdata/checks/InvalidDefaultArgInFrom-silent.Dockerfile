ARG TAG=1
ARG BASE
FROM busybox:${TAG} AS a
FROM ${BASE:-scratch}
