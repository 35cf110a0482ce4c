#!/usr/bin/env bash
set -euo pipefail
echo star > 'a*b'
echo other > axb
