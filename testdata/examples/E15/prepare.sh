#!/usr/bin/env bash
set -euo pipefail
gcc ./premier-programme.c -o ./premier-programme -static
