FROM --platform=$BUILDPLATFORM scratch AS a
FROM scratch
