#!/usr/bin/env bash
set -euo pipefail
echo f > f
chmod 0640 f
