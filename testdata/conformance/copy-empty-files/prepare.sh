#!/usr/bin/env bash
set -euo pipefail
mkdir -p tree/empty-dir/nested
: > tree/empty-file
