FROM alpine
COPY --from=tools /t /t
COPY --from=tools /u /u
COPY --from=alpine /v /v
