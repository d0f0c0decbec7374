//go:build !linux

// Command lifecycle needs Linux.
package main

func main() {}
