#!/usr/bin/env bash
set -euo pipefail
# A heredoc file is 0644 whatever the umask of the checkout was.
chmod 0644 ./*
