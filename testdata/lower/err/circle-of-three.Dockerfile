FROM alpine AS one
COPY --from=three /a /a
FROM alpine AS two
COPY --from=one /a /a
FROM alpine AS three
COPY --from=two /a /a
