package queue

import (
	"context"
	"time"

	"github.com/shmembox/shmem/internal/stream"
)

// A queue has one of four forms: of items (Queue) or of bytes (Bytes), each for any number of
// senders and receivers or for one of each (Single). The forms know the rings and how to wait. They
// move no message: Queue and Bytes copy it, or let the caller's function see it, between two calls
// of an end.
//
//	          of items      of bytes
//	many      manyItems     manyBytes
//	Single    singleItems   singleBytes
//
// In all methods of a form the context may be a stream.Try: the call does not block then.

// A form is what all four forms have in common.
type form interface {
	attached() *attachment
	isSingle() bool
	// The caller of these has pinned the mapping.
	length() int
	stats() Stats
	endStream()
}

// A callEnd is an end for one call of a queue's own methods: the mapping is pinned, and in a Single
// queue the end is the caller's. leave ends the call.
type callEnd interface{ leave() }

// A waitEnd is a receiving end on which can be waited until there is something to receive.
type waitEnd interface {
	wait(ctx context.Context) error
}

// An itemForm is the form of a Queue.
type itemForm interface {
	form
	// sender and receiver begin a call of the queue's own methods.
	sender(ctx context.Context) (itemSender, error)
	receiver(ctx context.Context) (itemReceiver, error)
	// newSender and newReceiver make the end of a Sender or Receiver, whose calls that wait stop
	// ends; giveUp ends the end.
	newSender(stop *stream.Stop) (end itemSender, giveUp func(), err error)
	newReceiver(stop *stream.Stop) (end itemReceiver, giveUp func(), err error)
}

// A run is some slots of a queue of items, one behind the other; behind the last slot of the ring
// comes its first one.
type run struct {
	pos   uint64 // the position of the first one; not used in a Single queue
	first int    // its index
	n     int
	lease lease // of a receiver
	// In a queue with time stamps: when the last message was sent that a receiver has. Of a sender:
	// the stamp to write; 0: that of now.
	sent int64
}

// An itemSender is the sending end of a queue of items.
type itemSender interface {
	callEnd
	// claim claims a run of up to n free slots, at least one.
	claim(ctx context.Context, n int) (run, error)
	// publish hands a claimed run, whose items are written, to the receivers.
	publish(r run) error
	// cancel gives a claimed run of one slot up.
	cancel(r run)
}

// An itemReceiver is the receiving end of a queue of items.
type itemReceiver interface {
	callEnd
	waitEnd
	// take takes a run of up to n messages, at least one.
	take(ctx context.Context, n int) (run, error)
	// release consumes a run: its slots are free.
	release(r run) error
	// sent returns the stamp of the message that a Receiver has received last, or reads in place.
	sent() int64
	// redeliver ends a lease on one message without consuming it. The message is redelivered after
	// a delay; a Single queue has no delays.
	redeliver(r run, delay time.Duration) error
}

// A byteForm is the form of a Bytes.
type byteForm interface {
	form
	sender(ctx context.Context) (byteSender, error)
	receiver(ctx context.Context) (byteReceiver, error)
	newSender(stop *stream.Stop) (end byteSender, giveUp func(), err error)
	newReceiver(stop *stream.Stop) (end byteReceiver, giveUp func(), err error)
	maxLen() int
	capacity() int
}

// A byteSender is the sending end of a queue of bytes. Positions mean nothing in a Single queue.
type byteSender interface {
	callEnd
	// reserve claims room for a message of n bytes in one piece.
	reserve(ctx context.Context, n int) (b []byte, pos uint64, err error)
	// publish hands the message of n bytes to the receivers. With more it may leave that to the
	// next call of publish or flush: another message comes soon. sent is the stamp to write; 0:
	// that of now.
	publish(pos uint64, n int, more bool, sent int64) error
	flush()
	cancel(pos uint64)
	peerWatcher
}

// A peerWatcher is an end whose calls that would wait return an error when the other end is gone.
// In a queue for many other ends may come, so nothing changes there.
type peerWatcher interface{ watchPeer() }

// A byteReceiver is the receiving end of a queue of bytes.
type byteReceiver interface {
	callEnd
	waitEnd
	take(ctx context.Context) (b []byte, r run, err error)
	// another takes one more message, if one is there that is delivered for the first time, and
	// returns what release is called with then; b is nil if there is none. It may release the
	// message before, and returns the error of that.
	another(r run) (b []byte, next run, err error)
	peerWatcher
	release(r run) error
	redeliver(r run, delay time.Duration) error
	sent() int64
}

// A lender is a form that has leases that outlive a call: it is its own end.
type lender interface {
	// keep says since when this attachment has a message that it keeps.
	keep(r run)
	release(r run) error
	redeliver(r run, delay time.Duration) error
}
