#% arg=BUILDKIT_CACHE_MOUNT_NS=team
#% allow-insecure=true
FROM alpine AS tools
RUN make tools
FROM alpine
ARG DIR=/var/cache
ARG MODE=0700
WORKDIR /src
RUN --mount=target=. make
RUN --mount=type=bind,source=../lib,target=lib,rw make lib
RUN --mount=from=tools,src=/usr/bin,dst=/opt/tools,ro=false --mount=from=tools,destination=/all --mount=from=alpine,target=/a make
RUN --mount=type=cache,target=$DIR/go,id=go,sharing=locked,mode=$MODE,uid=1000,gid=1000,ro make
RUN --mount=type=cache,target=build/ --mount=type=cache,target=/seeded,from=tools,source=/seed,sharing=private make
RUN --mount=type=cache,target=/part,id=go,source=sub --mount=type=cache,target=/e,from=scratch make
RUN --mount=type=tmpfs,target=/tmp,size=64m --mount=type=tmpfs,target=/t make
RUN --mount=type=secret,id=token --mount=type=secret,target=/etc/netrc,required make
RUN --mount=type=secret,id=a,env=A --mount=type=secret,id=b,env=B,target=b,mode=0444,uid=1,gid=2 --mount=type=secret,source=c make
RUN --mount=type=ssh --mount=type=ssh,id=other,required=true,mode=0666,uid=5 --mount=type=ssh,target=/agent make
RUN --mount=TYPE=bind,\"source=a,b\",Target=/x make
RUN --security=insecure make
