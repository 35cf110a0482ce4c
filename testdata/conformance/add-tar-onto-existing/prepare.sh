#!/usr/bin/env bash
set -euo pipefail
mkdir -p tree/d
echo new > tree/a
echo b > tree/d/b
tar --create --file tree.tar --owner=0 --group=0 --numeric-owner --sort=name -C tree .
rm -r tree
