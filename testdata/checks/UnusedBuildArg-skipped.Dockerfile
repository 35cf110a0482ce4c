# check=skip=UnusedBuildArg
ARG VERSION=1
FROM scratch
