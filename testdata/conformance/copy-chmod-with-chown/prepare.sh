#!/usr/bin/env bash
set -euo pipefail
mkdir tree
echo a > tree/a
