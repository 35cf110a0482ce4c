#% no-cache-step=build:4
#% no-cache-step=nothing:1
#% no-cache-step=build:one
#% no-cache-step=1:1
FROM alpine AS build
RUN a
RUN b
FROM alpine
COPY --from=build /a /
