# check=skip=WorkdirRelativePath
FROM busybox:1 AS a
WORKDIR app
WORKDIR more
FROM a
WORKDIR x
