#!/usr/bin/env bash
set -euo pipefail
echo a > a.txt
echo two > ab.txt
echo e > é.txt
