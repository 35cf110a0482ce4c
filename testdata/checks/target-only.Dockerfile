FROM scratch AS one
WORKDIR /$X
FROM scratch AS two
WORKDIR /$Y
