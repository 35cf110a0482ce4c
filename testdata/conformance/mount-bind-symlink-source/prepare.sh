#!/usr/bin/env bash
set -euo pipefail
mkdir sub
echo g > sub/g
ln -s sub link
