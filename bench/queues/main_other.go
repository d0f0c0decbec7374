//go:build !linux

// Command queuebench needs Linux.
package main

func main() {}
