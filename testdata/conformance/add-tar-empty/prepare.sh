#!/usr/bin/env bash
set -euo pipefail
tar --create --file empty.tar --files-from /dev/null
