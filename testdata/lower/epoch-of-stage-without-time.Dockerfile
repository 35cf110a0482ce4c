ARG SOURCE_DATE_EPOCH=sources
FROM scratch AS sources
ADD https://host.test/undated /
FROM scratch
ARG SOURCE_DATE_EPOCH
ENV T=$SOURCE_DATE_EPOCH
