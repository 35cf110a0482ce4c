ARG Z=1
ARG V=2
ARG A=$Z
FROM busybox:1 AS one
ARG Q
ARG V
ARG B=b
FROM busybox:$A AS two
ARG Y=y X
ARG B
COPY --from=one / /
RUN --mount=type=secret,id=s2 --mount=type=secret,id=s1 true
RUN --mount=type=cache,id=c2,target=/a --mount=type=cache,target=/b --mount=type=ssh,id=q,required true
FROM two
ARG K=k
ARG TARGETARCH
ARG V=3
ARG B=z
RUN --mount=type=secret,id=s1,required=true true
