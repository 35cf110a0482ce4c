FROM alpine AS builder
FROM alpine AS other
COPY --from=bulider /a /a
FROM other
COPY --from=bulider /b /b
RUN --mount=from=bulider,target=/x true
