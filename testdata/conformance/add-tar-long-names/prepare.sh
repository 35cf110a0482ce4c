#!/usr/bin/env bash
set -euo pipefail
d=$(printf 'd%.0s' {1..90})
mkdir -p tree/$d/$d
echo x > tree/$d/$d/f
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --format=gnu --file gnu.tar $d
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --format=posix --file pax.tar $d
tar --create --owner=1000 --group=50 --numeric-owner --sort=name --mtime=@1600000000 -C tree --format=ustar --file ustar.tar $d/$d/f
rm -r tree
