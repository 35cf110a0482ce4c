FROM a
RUN cat <<EOF|grep x
x
EOF
