#% arg=BUILDKIT_SYNTAX=example.com/other/frontend:1
FROM alpine
