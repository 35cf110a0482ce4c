# check=skip=all
FROM scratch
MAINTAINER a
CMD b
