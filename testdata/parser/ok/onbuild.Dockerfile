FROM a
ONBUILD RUN --network=none \
  make
onbuild copy <<-'A' <<B /x/
	1
	A
2
B
ONBUILD HEALTHCHECK NONE
