FROM alpine AS one
COPY --link --chown=me a /a
COPY --link --chmod=600 a /b
FROM scratch
COPY --link --from=one /a /c
COPY --link d /d
