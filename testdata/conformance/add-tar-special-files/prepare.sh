#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
mkdir tree
mkfifo -m 0610 tree/fifo
ln -s /absolute tree/absolute
ln -s ../up tree/up
echo x > tree/x
ln tree/x tree/y
archive --file tree.tar fifo absolute up x y
rm -r tree
