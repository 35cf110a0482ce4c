#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
mkdir tree
echo x > tree/x
setfattr -n user.note -v noted tree/x
archive --xattrs --format=posix --pax-option=delete=atime,delete=ctime --file tree.tar x
rm -r tree
