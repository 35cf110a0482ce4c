#!/usr/bin/env bash
set -euo pipefail
mkdir -p tree/{private,sticky,group,closed}
for name in secret script setuid setgid read-only none; do echo "$name" > "tree/$name"; done
chmod 0600 tree/secret
chmod 0755 tree/script
chmod 4755 tree/setuid
chmod 2755 tree/setgid
chmod 0444 tree/read-only
chmod 0000 tree/none
echo x > tree/closed/x
chmod 0700 tree/private
chmod 1777 tree/sticky
chmod 2775 tree/group
chmod 0555 tree/closed
