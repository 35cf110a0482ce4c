#!/usr/bin/env bash
set -euo pipefail
mkdir ../extra
echo given > ../extra/f
