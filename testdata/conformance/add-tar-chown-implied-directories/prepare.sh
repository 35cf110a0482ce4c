#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
mkdir -p tree/d
echo a > tree/a
echo b > tree/d/b
archive --no-recursion --file tree.tar a d/b
rm -r tree
