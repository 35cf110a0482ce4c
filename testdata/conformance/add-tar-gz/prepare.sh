#!/usr/bin/env bash
set -euo pipefail
mkdir -p tree/d
echo a > tree/a
echo b > tree/d/b
tar --create --file tree.tar --owner=0 --group=0 --numeric-owner --sort=name --mtime=@1600000000 -C tree .
gzip tree.tar
cp tree.tar.gz misnamed.txt
rm -r tree
