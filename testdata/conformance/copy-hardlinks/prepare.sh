#!/usr/bin/env bash
set -euo pipefail
mkdir tree/d
ln tree/a tree/b
ln tree/a tree/d/c
