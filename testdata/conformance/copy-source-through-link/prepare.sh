#!/usr/bin/env bash
set -euo pipefail
mkdir real
echo g > real/g
ln -s real link
