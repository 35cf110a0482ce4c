ARG SOURCE_DATE_EPOCH=sources
FROM scratch AS sources
ADD https://host.test/x /
ADD https://host.test/y /
FROM scratch
