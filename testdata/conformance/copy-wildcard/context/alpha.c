alpha.c
