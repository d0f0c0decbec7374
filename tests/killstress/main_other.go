//go:build !linux

package main

import "fmt"

func main() { fmt.Println("killstress: there is no shared memory on this system") }
