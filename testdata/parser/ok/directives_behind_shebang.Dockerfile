#!/usr/bin/env bld
# syntax=x
# escape=`
# check=skip=all
FROM a
RUN b \
 c
