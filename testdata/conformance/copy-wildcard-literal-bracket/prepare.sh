#!/usr/bin/env bash
set -euo pipefail
echo bracket > 'arr[0].txt'
echo zero > arr0.txt
