#!/usr/bin/env bash
set -euo pipefail
mkdir d
ln -s /nowhere d/absolute
ln -s ../nowhere d/relative
ln -s . d/self
