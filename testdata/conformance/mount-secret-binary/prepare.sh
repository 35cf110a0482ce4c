#!/usr/bin/env bash
set -euo pipefail
printf 'a\0b\nc\xff' > ../token
