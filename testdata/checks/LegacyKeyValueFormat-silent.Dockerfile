FROM scratch
ENV DIR=/app A="b c"
LABEL vendor=me
