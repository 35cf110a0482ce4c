ARG SOURCE_DATE_EPOCH=sources
FROM scratch AS sources
ADD x /
FROM scratch
