FROM alpine
ENV NAME=world
WORKDIR /w
COPY <<EOF /hello
hello $NAME \$NAME "x"
EOF
COPY --chmod=755 --chown=1:2 <<'RAW' x/
hello $NAME
RAW
