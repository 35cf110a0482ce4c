ARG SOURCE_DATE_EPOCH=Sources
ARG VERSION=1
FROM scratch AS sources
ARG VERSION
ARG HOST=host.test
ADD --checksum=aaaaaaaaaaaa https://$HOST/x.git#v$VERSION /
FROM scratch
COPY --from=sources / /
