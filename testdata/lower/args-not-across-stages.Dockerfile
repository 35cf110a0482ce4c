FROM alpine AS one
ARG A=1
FROM alpine
COPY --from=one /x /x
ENV B=[$A]
