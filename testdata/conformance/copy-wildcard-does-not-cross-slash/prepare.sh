#!/usr/bin/env bash
set -euo pipefail
mkdir -p d/sub dirg
echo 1 > dog
echo 2 > d/sub/g
echo 3 > dirg/inside
