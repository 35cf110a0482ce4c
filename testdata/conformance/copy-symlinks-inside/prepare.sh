#!/usr/bin/env bash
set -euo pipefail
cd tree
ln -s a relative
ln -s /etc/passwd absolute
ln -s ../../.. upwards
ln -s nowhere dangling
ln -s loop loop
mkdir d
ln -s ../a d/back
ln -s d dir-link
