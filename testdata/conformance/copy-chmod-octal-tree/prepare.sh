#!/usr/bin/env bash
set -euo pipefail
mkdir -p tree/sub
echo a > tree/a; echo b > tree/sub/b; ln -s a tree/link
