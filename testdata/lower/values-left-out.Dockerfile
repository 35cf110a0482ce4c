FROM alpine
ARG NOBODY
COPY --chown=app: a /a
COPY --chown=:staff b /b
COPY --chown=$NOBODY:$NOBODY c /c
COPY --chown= --chmod= --exclude= d /d
ADD --checksum= --keep-git-dir e /e
USER app:
WORKDIR /w
HEALTHCHECK --interval= --retries= CMD x
