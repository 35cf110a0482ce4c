#!/usr/bin/env bash
set -euo pipefail
mkdir tree
echo x > tree/x
setfattr -n user.note -v noted tree/x
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --xattrs --format=posix --pax-option=delete=atime,delete=ctime --file tree.tar x
rm -r tree
