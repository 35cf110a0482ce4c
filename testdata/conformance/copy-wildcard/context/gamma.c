gamma.c
