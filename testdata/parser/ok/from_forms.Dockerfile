ARG V=1 P
FROM --platform=$BUILDPLATFORM img:$V@sha256:x AS Build.a-b_1
FROM build.a-b_1
