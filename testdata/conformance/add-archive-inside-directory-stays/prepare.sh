#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
mkdir d tree
echo a > tree/a
archive --format=ustar --file d/tree.tar a
rm -r tree
