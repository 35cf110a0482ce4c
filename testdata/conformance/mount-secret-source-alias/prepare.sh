#!/usr/bin/env bash
set -euo pipefail
printf "very secret" > ../token
