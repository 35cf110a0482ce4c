#!/usr/bin/env bld
# syntax=x
# escape=`
FROM a
RUN b \
 c
