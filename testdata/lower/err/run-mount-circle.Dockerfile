FROM alpine AS one
RUN --mount=from=two,target=/x a
FROM alpine AS two
RUN --mount=from=one,target=/x a
FROM alpine
RUN --mount=from=later,target=/x a
COPY --from=one /x /x
FROM alpine AS later
RUN a
FROM alpine
COPY --from=2 /x /x
