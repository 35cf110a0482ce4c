FROM alpine
SHELL ["python3", "-c"]
RUN <<EOF
print("x")
EOF
