FROM alpine AS base
ONBUILD COPY --from=child /a /a
FROM base AS child
