#!/usr/bin/env bash
set -euo pipefail
mkdir ../one ../two
echo 1 > ../one/f
echo 2 > ../two/f
