# syntax = docker/dockerfile:1 
#CHECK=skip=all
#  Escape = `
FROM a
