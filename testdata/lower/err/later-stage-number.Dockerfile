#% target=first
FROM alpine AS first
COPY --from=1 /a /a
FROM alpine
