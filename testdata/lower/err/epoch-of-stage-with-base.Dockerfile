ARG SOURCE_DATE_EPOCH=sources
FROM alpine AS sources
ADD https://host.test/x /
FROM scratch
