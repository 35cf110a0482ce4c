#!/usr/bin/env bash
set -euo pipefail
mkdir -p tree/d
echo s > tree/setuid; echo g > tree/setgid; echo n > tree/none
chmod 4755 tree/setuid; chmod 2750 tree/setgid; chmod 0 tree/none; chmod 1777 tree/d
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --file tree.tar setuid setgid none d
chmod 0600 tree/none
rm -r tree
