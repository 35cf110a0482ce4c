# check=experimental=InvalidDefinitionDescription
# An empty line does not part the two.

ARG TAG=1
# An empty comment does.
#
FROM busybox:$TAG AS base

# base
ARG A
#
ARG \
  B
