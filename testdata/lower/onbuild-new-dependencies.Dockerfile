FROM alpine AS assets
RUN make assets
FROM alpine AS not-needed
FROM onbuild-from
