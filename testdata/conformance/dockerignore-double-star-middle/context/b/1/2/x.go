b/1/2/x.go
