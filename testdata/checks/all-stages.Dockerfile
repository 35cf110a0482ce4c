FROM scratch AS unused
WORKDIR $X
FROM scratch
WORKDIR /$Y
