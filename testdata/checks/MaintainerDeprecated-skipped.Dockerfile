# check=skip=MaintainerDeprecated
FROM scratch
MAINTAINER me <me@example.com>
