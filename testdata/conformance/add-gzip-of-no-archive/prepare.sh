#!/usr/bin/env bash
set -euo pipefail
echo text | gzip -n > text.gz
