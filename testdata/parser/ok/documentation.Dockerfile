# V the version
ARG V
# build compiles it
# check=skip=A
FROM a AS build
# OTHER no
# A first
# B second
ARG A B=2 C

# A kept

ARG A
