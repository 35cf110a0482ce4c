b/x.go
