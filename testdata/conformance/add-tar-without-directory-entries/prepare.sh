#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
small_tree
archive --no-recursion --file tree.tar a d/b
rm -r tree
