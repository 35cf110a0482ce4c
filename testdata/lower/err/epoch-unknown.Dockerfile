ARG SOURCE_DATE_EPOCH=sorces
FROM scratch AS sources
ADD https://host.test/x /
FROM scratch
