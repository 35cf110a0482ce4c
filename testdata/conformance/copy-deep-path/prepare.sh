#!/usr/bin/env bash
set -euo pipefail
path=deep
for level in $(seq 40); do path+=/level$level; done
mkdir -p "$path" long
echo bottom > "$path/bottom"
# Longer than the name field of a tar header, alone and together with its directory.
name=$(printf 'n%.0s' $(seq 200))
echo long > "long/$name"
mkdir "long/d$name"
echo long > "long/d$name/$name"
ln -s "$name" "long/link"
ln -s "d$name/$name/$name/missing" "long/long-target"
