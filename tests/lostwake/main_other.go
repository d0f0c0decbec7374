//go:build !linux

// Command lostwake needs Linux.
package main

func main() {}
