#% no-cache=true
FROM alpine
COPY --link a /
RUN b
