#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
small_tree
archive --bzip2 --file tree.tar.bz2 a d link
rm -r tree
