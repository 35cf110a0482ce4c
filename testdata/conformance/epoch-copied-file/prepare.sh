#!/usr/bin/env bash
set -euo pipefail
echo f > f
echo old > old
touch -d @2000000000 f
touch -d @1000000000 old
