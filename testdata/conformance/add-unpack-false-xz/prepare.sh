#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
small_tree
archive --xz --file tree.tar.xz a d link
rm -r tree
