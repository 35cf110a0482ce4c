FROM alpine AS files
RUN never
FROM alpine
COPY --from=files /x /x
