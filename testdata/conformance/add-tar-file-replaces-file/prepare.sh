#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
small_tree
archive --file tree.tar a
rm -r tree
