#!/usr/bin/env bash
set -euo pipefail
mkdir -p tree/sub
echo a > tree/a
