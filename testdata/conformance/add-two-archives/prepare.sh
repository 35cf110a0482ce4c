#!/usr/bin/env bash
set -euo pipefail
mkdir tree
echo 1 > tree/one; echo b1 > tree/both
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --file one.tar one both
echo 2 > tree/two; echo b2 > tree/both
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --file two.tar two both
rm -r tree
echo plain > plain
