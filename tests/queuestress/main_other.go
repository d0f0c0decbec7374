//go:build !linux

// Command queuestress needs Linux.
package main

func main() {}
