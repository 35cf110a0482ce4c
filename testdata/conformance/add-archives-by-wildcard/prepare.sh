#!/usr/bin/env bash
set -euo pipefail
mkdir tree
echo 1 > tree/one
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --file one.tar one
echo 2 > tree/two
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --file two.tar two
rm -r tree
