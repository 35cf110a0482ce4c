#!/usr/bin/env bash
set -euo pipefail
mkdir ../other
echo context > ../other/f
