#!/usr/bin/env bash
set -euo pipefail
mkdir -p tree/d
echo a > tree/a
echo b > tree/d/b
ln -s a tree/link
ln tree/a tree/hard
chmod 0700 tree/d
tar --create --file plain.tar --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree .
rm -r tree
