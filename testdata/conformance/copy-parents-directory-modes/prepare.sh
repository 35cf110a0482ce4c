#!/usr/bin/env bash
set -euo pipefail
mkdir -p a/b
echo f > a/b/f
chmod 0750 a
chmod 0711 a/b
