a/b/x.go
