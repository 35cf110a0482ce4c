# check=skip=InvalidBaseImagePlatform
FROM busybox:1
