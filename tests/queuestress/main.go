//go:build linux

// Command queuestress sends messages between many processes, kills them, and checks what arrives.
//
//	go run ./tests/queuestress -mode many -messages 100000000
//	go run ./tests/queuestress -mode many -kills 10000
//	go run ./tests/queuestress -mode many -hostile -for 10m
//
// Modes are many, single, bytes, bytes-single and topic (with Holds). Every message carries its producer, a
// sequence number and a checksum. What each process is at stands in a ledger in shared memory of its own, so that
// what was at stake when one was killed is known:
//
//   - a message whose Send returned nil arrives; one in whose Send the producer was killed may;
//   - no message arrives twice, but one that was in the hands of a consumer that was killed;
//   - messages of one producer arrive in order, but for those given back.
//
// Processes die by SIGKILL, half of them at a random step of the protocol and half at a random time. With
// -hostile a process writes random bytes over the control words instead, and the others must return errors, go on,
// and neither panic nor hang.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

var (
	mode      = flag.String("mode", "many", "many, single, bytes, bytes-single, topic")
	duration  = flag.Duration("for", time.Minute, "how long, at most")
	messages  = flag.Uint64("messages", 1<<62, "how many messages, at most")
	kills     = flag.Int("kills", 0, "how many kills, at most")
	producers = flag.Int("producers", 2, "processes that send")
	consumers = flag.Int("consumers", 2, "processes that receive")
	capacity  = flag.Int("capacity", 256, "messages in the queue")
	batch     = flag.Int("batch", 0, "messages a batch; 0: one by one and in place")
	hostile   = flag.Bool("hostile", false, "scribble over the control words")
	seed      = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of all that is random")
	dir       = flag.String("dir", "/dev/shm", "where the segments are")
	child     = flag.String("child", "", "")
	index     = flag.Int("index", 0, "")
	base      = flag.String("base", "", "")
	fuse      = flag.Uint64("fuse", 0, "")
)

func main() {
	flag.Parse()
	if *mode == "single" || *mode == "bytes-single" {
		*producers, *consumers = 1, 1
	}
	run := stress
	switch {
	case *child != "":
		run = runChild
	case *hostile:
		run = besiege
	}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "queuestress %s%d: %v\n", *child, *index, err)
		os.Exit(1)
	}
}
