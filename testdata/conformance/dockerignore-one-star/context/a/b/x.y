a/b/x.y
