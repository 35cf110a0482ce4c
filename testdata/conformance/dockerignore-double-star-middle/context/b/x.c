b/x.c
