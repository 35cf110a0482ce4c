#!/usr/bin/env bash
set -euo pipefail
mkdir -p tree/d
echo a > tree/a
echo b > tree/d/b
chmod 0700 tree/d
ln -s a tree/link
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --file tree.tar a d
rm -r tree
