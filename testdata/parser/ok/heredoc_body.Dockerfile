FROM a
RUN <<EOF
# kept

echo \
  $x
EOF
RUN 3<<"E F"
x
E F
