#!/usr/bin/env bash
set -euo pipefail
truncate -s 4M sparse
printf middle | dd of=sparse bs=1 seek=2000000 conv=notrunc status=none
