#!/usr/bin/env bash
set -euo pipefail
mkdir ../extra
echo kept > ../extra/kept
echo dropped > ../extra/dropped
echo dropped > ../extra/.dockerignore
