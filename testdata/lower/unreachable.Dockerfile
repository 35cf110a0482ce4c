FROM missing AS unused
RUN --mount=type=cache,target=/x a
FROM alpine AS used
FROM scratch
COPY --from=used /a /
