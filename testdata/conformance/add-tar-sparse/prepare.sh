#!/usr/bin/env bash
set -euo pipefail
mkdir tree
truncate -s 1000000 tree/sparse
echo end >> tree/sparse
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --sparse --format=gnu --file old.tar sparse
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --sparse --format=posix --file new.tar sparse
mv old.tar tree.tar
rm -r tree new.tar
