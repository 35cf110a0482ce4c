#!/usr/bin/env bash
set -euo pipefail
mkdir tree
echo a > tree/a
echo b > tree/tool
chmod 0755 tree/tool
setfattr -n user.note -v 'from the context' tree/a
if [[ $(id -u) == 0 ]]; then setcap cap_net_bind_service=+ep tree/tool; fi
