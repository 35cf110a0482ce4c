# check=experimental=all
# the version
ARG VERSION=1
# a stage
FROM scratch AS build
