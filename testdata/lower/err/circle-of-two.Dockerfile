FROM alpine AS one
COPY --from=two /a /a
FROM one AS two
RUN b
