#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "$0")/../prepare.lib"
mkdir -p tree/d
echo s > tree/setuid; echo g > tree/setgid; echo n > tree/none
chmod 4755 tree/setuid; chmod 2750 tree/setgid; chmod 0 tree/none; chmod 1777 tree/d
archive --file tree.tar setuid setgid none d
chmod 0600 tree/none
rm -r tree
