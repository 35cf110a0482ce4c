#!/usr/bin/env bash
set -euo pipefail
mkdir -p tree/sub
echo a > tree/plain; echo b > tree/tool; echo c > tree/sub/closed
chmod 0600 tree/plain; chmod 0700 tree/tool; chmod 0660 tree/sub/closed; chmod 0770 tree/sub; chmod 0700 tree
