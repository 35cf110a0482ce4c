ARG SOURCE_DATE_EPOCH=sources
FROM scratch AS sources
ADD https://host.test/gone /
FROM scratch
