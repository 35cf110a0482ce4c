#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
small_tree
archive --gzip --file tree.tar.gz a d link
rm -r tree
