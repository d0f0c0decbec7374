//go:build !linux

package main

import "fmt"

func main() { fmt.Println("chaos: segments need Linux") }
