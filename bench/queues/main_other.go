//go:build !linux

// Command queues needs Linux.
package main

func main() {}
