# check=experimental=all
# VERSION the version
ARG VERSION=1

# free text

# build compiles
FROM scratch AS build
