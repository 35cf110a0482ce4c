FROM a
RUN --network=none <<EOF
#!/bin/x
y
EOF
