//go:build !linux

// Command crowd needs Linux.
package main

func main() {}
