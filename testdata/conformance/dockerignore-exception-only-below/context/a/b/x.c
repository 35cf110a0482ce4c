a/b/x.c
