#!/usr/bin/env bash
set -euo pipefail
mkdir ../extra
echo original > ../extra/f
