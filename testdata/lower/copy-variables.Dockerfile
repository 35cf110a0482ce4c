FROM alpine
ARG SRC=from DST=/to OWNER=5 MODE=600
COPY --chown=$OWNER --chmod=$MODE $SRC/a $DST/
COPY --chown=$NONE b /
