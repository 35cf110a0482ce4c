FROM alpine
RUN <<EOF
echo $A
# kept
EOF
