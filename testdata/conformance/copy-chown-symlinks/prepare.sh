#!/usr/bin/env bash
set -euo pipefail
mkdir tree
echo a > tree/a
ln -s a tree/link
