#!/usr/bin/env bash
set -euo pipefail
ln -s file link-to-file
ln -s dir link-to-dir
ln -s link-to-file chain
