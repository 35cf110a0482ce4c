ARG P=linux/amd64
FROM --platform=linux/amd64 scratch AS base-amd64
FROM --platform=$BUILDPLATFORM scratch AS b
FROM --platform=$P scratch AS c
FROM scratch AS d
