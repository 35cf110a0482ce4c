# check=skp=all
FROM a
# check=error=2
RUN b
