FROM alpine AS tools
RUN a
FROM alpine AS base
ONBUILD RUN --mount=from=tools,target=/t b
FROM base
