FROM alpine
COPY a b /c # both
COPY a b /c --chown=1
