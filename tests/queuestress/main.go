//go:build linux

// Command queuestress sends messages between many processes, kills them, and checks what arrives.
//
//	go run ./tests/queuestress -mode all -messages 1000000000
//	go run ./tests/queuestress -mode many -kills 10000
//	go run ./tests/queuestress -mode many -hostile -for 10m
//
// Modes are many, single, bytes, bytes-single and topic (with Options.Holds); all is one after the
// other, one by one and in batches, until so many messages have passed them together. Each message
// carries its producer, a sequence number and a checksum. What each process does stands in a ledger
// in another segment, so that it is known what a killed process had at stake:
//
//   - a message whose Send returned nil arrives; one in whose Send the producer was killed may
//     arrive;
//   - no message arrives twice, except one that a killed consumer had received but not released;
//   - with -batch, messages that RecvBatch had returned to a killed consumer may be lost with it;
//   - messages of one producer arrive in order, except those that are redelivered.
//
// Processes end by SIGKILL, half of them at a random step of the protocol and half at a random
// time. With -hostile a process writes random bytes over the control words instead, and the calls
// of the others must return: with errors, without a panic, and in time.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

const modes = "many, single, bytes, bytes-single, topic, topic-bytes, all"

var (
	mode      = flag.String("mode", "many", modes)
	duration  = flag.Duration("for", time.Minute, "how long, at most")
	messages  = flag.Uint64("messages", 1<<62, "how many messages, at most")
	kills     = flag.Int("kills", 0, "how many kills, at most")
	producers = flag.Int("producers", 2, "processes that send")
	consumers = flag.Int("consumers", 2, "processes that receive")
	capacity  = flag.Int("capacity", 256, "messages in the queue")
	stamped   = flag.Bool("stamped", false, "messages have time stamps")
	batch     = flag.Int("batch", 0, "messages a batch, by handles; 0: one by one and in place")
	hostile   = flag.Bool("hostile", false, "write random bytes over the control words")
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
	case *mode == "all":
		run = allModes
	case *hostile:
		run = scribbleAll
	}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "queuestress %s%d: %v\n", *child, *index, err)
		os.Exit(1)
	}
}
