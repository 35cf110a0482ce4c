#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
d=$(printf 'd%.0s' {1..90})
mkdir -p tree/$d/$d
echo x > tree/$d/$d/f
archive --format=gnu --file gnu.tar $d
archive --format=posix --file pax.tar $d
archive --format=ustar --file ustar.tar $d/$d/f
rm -r tree
