FROM alpine
ADD a.tar.gz /opt
ADD --unpack=false b.tar /b/
ADD --unpack=true c.tar /c/
ADD --chown=1:2 <<EOF d e/
x
EOF
