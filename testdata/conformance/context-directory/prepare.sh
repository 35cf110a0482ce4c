#!/usr/bin/env bash
set -euo pipefail
mkdir -p ../extra/d
echo f > ../extra/f
echo g > ../extra/d/g
