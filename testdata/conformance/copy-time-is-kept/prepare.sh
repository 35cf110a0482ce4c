#!/usr/bin/env bash
set -euo pipefail
echo f > f
mkdir d
echo g > d/g
touch -d @1234567890 f
touch -d @1500000000 d/g
