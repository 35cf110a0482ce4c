FROM scratch
COPY a /
FROM scratch
COPY b /
