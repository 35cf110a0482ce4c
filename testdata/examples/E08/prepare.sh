#!/usr/bin/env bash
set -euo pipefail
# The Dockerfile is written by the shell, as the lesson does it.
cat << EOF > Dockerfile
FROM alpine:edge
RUN apk add --no-cache tar

WORKDIR /archive
ENTRYPOINT ["/usr/bin/tar"]
CMD ["--usage"]
EOF
