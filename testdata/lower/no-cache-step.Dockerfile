#% no-cache-step=Build:3
#% no-cache-step=stage-2
FROM alpine AS build
RUN a
RUN b
RUN c
FROM scratch AS other
COPY x /
FROM alpine
RUN d
COPY --from=build /a /
COPY --from=other /x /
