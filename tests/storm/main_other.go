//go:build !linux

package main

import "fmt"

func main() { fmt.Println("storm: segments need Linux") }
