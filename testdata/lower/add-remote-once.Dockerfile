FROM alpine AS one
ADD https://host.test/a /a
FROM scratch
COPY --from=one /a /b
ADD https://host.test/a /a
