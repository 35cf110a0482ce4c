ARG SOURCE_DATE_EPOCH=sources
FROM scratch AS sources
ADD https://host.test/x /
ENV A=b
FROM scratch
