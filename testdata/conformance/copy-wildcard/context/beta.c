beta.c
