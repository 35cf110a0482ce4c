#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
mkdir tree
truncate -s 1000000 tree/sparse
echo end >> tree/sparse
archive --sparse --format=gnu --file old.tar sparse
archive --sparse --format=posix --file new.tar sparse
mv old.tar tree.tar
rm -r tree new.tar
