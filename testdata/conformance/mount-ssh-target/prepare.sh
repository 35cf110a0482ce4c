#!/usr/bin/env bash
set -euo pipefail
ssh-keygen -q -t ed25519 -N "" -f ../key
