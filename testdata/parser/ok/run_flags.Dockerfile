FROM a
RUN --mount=type=cache,target=/c --mount="type=bind,target=/a b" --network=none --security=insecure --device=x -- --y z
RUN --mount=type=\"t\" \
 --network=host make
