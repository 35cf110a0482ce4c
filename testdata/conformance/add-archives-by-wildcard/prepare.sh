#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
mkdir tree
echo 1 > tree/one
archive --file one.tar one
echo 2 > tree/two
archive --file two.tar two
rm -r tree
