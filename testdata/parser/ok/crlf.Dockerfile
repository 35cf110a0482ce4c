# syntax=x
FROM a
RUN one \
  two
