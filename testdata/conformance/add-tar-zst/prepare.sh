#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
small_tree
archive --zstd --file tree.tar.zst a d link
cp tree.tar.zst misnamed.txt
archive --gzip --file tree.tar.gz a d link
rm -r tree
