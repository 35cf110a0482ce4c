ARG RELEASE=1
FROM busybox:$RELEASE AS a
FROM busybox:${OTHER:-1}
FROM --platform=$BUILDPLATFORM scratch
