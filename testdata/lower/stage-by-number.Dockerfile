FROM alpine
RUN a
FROM scratch
COPY --from=0 /a /a
