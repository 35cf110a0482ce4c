FROM a
RUN <<EOF
  x
  EOF
COPY y
