#% target=3
FROM alpine
