#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
mkdir tree
echo first > tree/f
archive --file tree.tar f
echo second > tree/f
tar --append --owner=1000 --group=50 --numeric-owner --mtime=@1600000000 -C tree --file tree.tar f
rm -r tree
