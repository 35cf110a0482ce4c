FROM alpine
COPY --chown=a:b:c x /x
COPY --chown=: x /x
