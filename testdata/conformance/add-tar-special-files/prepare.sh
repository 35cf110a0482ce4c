#!/usr/bin/env bash
set -euo pipefail
mkdir tree
mkfifo -m 0610 tree/fifo
ln -s /absolute tree/absolute
ln -s ../up tree/up
echo x > tree/x
ln tree/x tree/y
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --file tree.tar fifo absolute up x y
rm -r tree
