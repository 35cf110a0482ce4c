#% target=0
FROM alpine
COPY --from=later /a /a
FROM alpine AS later
