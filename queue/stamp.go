package queue

import (
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
)

// stamps are when the messages of a queue were sent, in nanoseconds since 1970, one a slot; nil:
// the queue has no time stamps. A stamp is written before its message is published, and read while
// the message is leased. So it comes with the message each time that is redelivered.
type stamps []atomic.Uint64

// bindStamps finds the stamps of a queue. In a Single queue of bytes they are with the messages.
func (a *attachment) bindStamps(l *layout.Queue) (err error) {
	if l.Stamps != 0 {
		a.stamps, err = mem.SliceAt[atomic.Uint64](a.M, l.Stamps, l.Capacity)
	}
	return err
}

// stampNow returns a stamp: sent, if it is not 0, or the time.
func stampNow(sent int64) int64 {
	if sent != 0 {
		return sent
	}
	return time.Now().UnixNano()
}

// write stamps a run before it is published.
func (s stamps) write(r run) {
	at, i := uint64(stampNow(r.sent)), r.first
	for range r.n {
		s[i].Store(at)
		if i++; i == len(s) {
			i = 0
		}
	}
}

// of returns the stamp of the last message of a run that is leased.
func (s stamps) of(r run) int64 { return int64(s[(r.first+r.n-1)%len(s)].Load()) }

// lastSent is when the message was sent that a Receiver has received last, or reads in place. One
// goroutine at a time uses it.
type lastSent struct{ stamp, before int64 }

// took notes that a message was taken, and forget that it was not received.
func (l *lastSent) took(stamp int64) { l.before, l.stamp = l.stamp, stamp }
func (l *lastSent) forget()          { l.stamp = l.before }

// forget is called when a message that end took was moved to the dead-letter queue.
func forget(end any) {
	if e, ok := end.(interface{ forget() }); ok {
		e.forget()
	}
}
