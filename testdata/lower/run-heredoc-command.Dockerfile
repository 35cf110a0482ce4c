FROM alpine
RUN <<EOF cat > /x
hello $A
EOF
