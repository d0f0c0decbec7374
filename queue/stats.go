package queue

import (
	"time"

	"github.com/shmembox/shmem"
)

// Stats are the state of a queue at one moment. Messages count from its creation, over all
// processes. In a Single Bytes the fields marked with * count bytes.
type Stats struct {
	Capacity    int    // * messages there is room for
	Depth       int    // * sent, and taken by no receiver yet
	Sending     int    // being sent; 0 in a Single queue
	Receiving   int    // being received, or waiting for redelivery; 0 in a Single queue
	Sent        uint64 // * sent or being sent, skipped ones included
	Received    uint64 // * received or being received
	Skipped     uint64 // not sent because the sender died; in a Single queue: senders that died
	Redelivered uint64 // because the receiver died; in a Single queue: receivers that died
	Ended       bool   // by End

	// OldestSent is when the oldest message was sent that waits to be received, in a queue with
	// Options.Stamped. It is the zero time if none waits.
	OldestSent time.Time

	// HasSender and HasReceiver report whether a live process has that end of a Single queue.
	HasSender, HasReceiver bool
}

func statsOf(f form) (Stats, error) {
	a := f.attached()
	if !a.M.Pin() {
		return Stats{}, a.error("stats", shmem.ErrClosed)
	}
	defer a.M.Unpin()
	return f.stats(), nil
}

func length(f form) int {
	a := f.attached()
	if !a.M.Pin() {
		return 0
	}
	defer a.M.Unpin()
	return f.length()
}

func end(f form) error {
	a := f.attached()
	if err := a.Enter(); err != nil {
		return a.error("end", err)
	}
	defer a.M.Unpin()
	f.endStream()
	return nil
}
