# check=skip=UndefinedArgInFrom
ARG RELEASE=1
FROM busybox:$RELAESE AS a
FROM --platform=$PLATFORM scratch
