FROM a
COPY \
  --from=b \
  --lnik x y
