#% arg=USED=1
#% arg=UNUSED=1
#% arg=OTHER_STAGE=1
#% arg=http_proxy=p
FROM alpine AS other
ARG OTHER_STAGE
FROM alpine
ARG USED
