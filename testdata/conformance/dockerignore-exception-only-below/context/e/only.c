e/only.c
