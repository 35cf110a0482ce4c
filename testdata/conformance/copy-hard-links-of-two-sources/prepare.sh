#!/usr/bin/env bash
set -euo pipefail
echo x > one
ln one two
