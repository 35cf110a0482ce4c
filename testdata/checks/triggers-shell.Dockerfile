FROM busybox:1 AS base
ONBUILD SHELL ["x"]
ONBUILD CMD a
FROM base
CMD x
