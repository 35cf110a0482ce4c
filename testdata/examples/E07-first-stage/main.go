package main

import "fmt"

func main() {
	fmt.Println("Salut depuis un multi build!")
}
