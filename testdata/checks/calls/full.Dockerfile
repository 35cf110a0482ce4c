# syntax=docker/dockerfile:1
# RELEASE is the release of the base
ARG RELEASE=1
# VERSION of the program
ARG VERSION=0.1
ARG UNUSED=x

# deps holds what the program needs
FROM busybox:${RELEASE} AS deps
ARG MIRROR
RUN --mount=type=cache,target=/var/cache/deps true

# build compiles the program
FROM deps AS build
ARG VERSION
# JOBS how many at once
ARG JOBS=4
RUN --mount=type=secret,id=token,required=true --mount=type=ssh true
RUN --mount=type=cache,id=objects,target=/obj --mount=type=secret,id=other true

FROM --platform=$BUILDPLATFORM scratch AS tools
ARG TOOL=1

# release is what is shipped
FROM scratch AS release
ARG TARGETARCH
COPY --from=build /bin/app /
