package rpc

import (
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/wait"
)

// An owed is the ring for servers that a client owes for its calls.
//
// Replies come several at a time, and the goroutines that get them often call again. While some of
// these have not gone on yet, a call leaves the ring to the last of them. So servers wake once for
// many calls.
//
//  1. A call sets is, after it has set its bit in the index of calls that wait for a server.
//  2. If no goroutine is about to go on, or is was set for long, it clears is, and rings.
//  3. A goroutine that goes on does step 2 after its wait. It counts as about to go on until then,
//     so of a call that sets is and the last goroutine that goes on one sees the other.
//
// Where the goroutines have no processor soon, the ring comes late. Then calls ring at once for a
// while, which is twice as long each time. A ring that is in time halves it.
type owed struct {
	is     atomic.Bool
	since  atomic.Int64 // when is was set, since started
	prompt atomic.Int32 // calls to come that ring at once
	next   atomic.Int32 // prompt after the next ring that is late; 0: firstPrompt
}

const (
	isLate      = time.Millisecond // less would blame a machine with other work
	firstPrompt = 256
	lastPrompt  = 4096
)

// owe rings a server for a call, or leaves that to another goroutine. now is the time since
// started.
func (c *client) owe(now time.Duration) {
	o := &c.owed
	if n := o.prompt.Load(); n > 0 {
		o.prompt.Store(n - 1) // one that is lost changes an estimate
		c.ringServer()
		return
	}
	late := o.is.Load() && now-time.Duration(o.since.Load()) > isLate
	if !o.is.Load() {
		o.since.Store(int64(now))
	}
	o.is.Store(true)
	c.pay(late)
}

// pay rings a server if that is owed, and no goroutine is about to go on, or it is late.
func (c *client) pay(late bool) {
	o := &c.owed
	if !o.is.Load() || !late && wait.Resuming(c.M) || !o.is.Swap(false) {
		return
	}
	c.ringServer()
	n := max(o.next.Load(), firstPrompt)
	if late || time.Since(started)-time.Duration(o.since.Load()) > isLate {
		o.prompt.Store(n)
		o.next.Store(min(2*n, lastPrompt))
	} else if n > firstPrompt {
		o.next.Store(n / 2)
	}
}

// ringServer wakes a server for a call that waits.
func (c *client) ringServer() { wait.WakeN(c.M, &c.header.ReadyArmed, 1) }
