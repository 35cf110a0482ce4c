#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
mkdir tree
echo 1 > tree/one; echo b1 > tree/both
archive --file one.tar one both
echo 2 > tree/two; echo b2 > tree/both
archive --file two.tar two both
rm -r tree
echo plain > plain
