#!/usr/bin/env bash
set -euo pipefail
ln -s /sub link
mkdir sub
echo inside > sub/issue
