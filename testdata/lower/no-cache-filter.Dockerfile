#% no-cache-filter=Build
FROM alpine AS build
RUN a
FROM alpine
RUN b
COPY --from=build /a /
