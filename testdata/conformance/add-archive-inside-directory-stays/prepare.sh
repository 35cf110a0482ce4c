#!/usr/bin/env bash
set -euo pipefail
mkdir d tree
echo a > tree/a
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --format=ustar --file d/tree.tar a
rm -r tree
