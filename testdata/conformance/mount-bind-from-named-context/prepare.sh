#!/usr/bin/env bash
set -euo pipefail
mkdir ../extra
echo extra > ../extra/f
