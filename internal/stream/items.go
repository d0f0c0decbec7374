package stream

import (
	"context"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
)

// Items is an attachment to a queue of items whose type is known at run time only. Its methods are
// safe for concurrent use, and their errors are those of a queue.Queue.
type Items interface {
	// Type returns the type of an item.
	Type() *format.Type
	// Send sends a message that write writes in place. The bytes are zero before that.
	Send(ctx context.Context, write func([]byte) error) error
	// Recv receives a message that read reads in place. The time is when it was sent; the zero time
	// in a queue without time stamps.
	Recv(ctx context.Context, read func([]byte, time.Time) error) error
	// Take receives a message on a lease that outlives the call; see queue.Queue.Take.
	Take(ctx context.Context) (Loan, error)
	// Unlinked returns a channel that is closed when the name no longer leads to the queue.
	Unlinked() <-chan struct{}
	// Len returns the number of messages that no receiver has taken yet.
	Len() int
	// Ended reports whether the stream has ended.
	Ended() bool
	End() error
	Close() error
}

// A Loan is a queue.Lease of an item whose type is known at run time only.
type Loan interface {
	Bytes() []byte // in place
	Position() uint64
	Deliveries() int
	Time() time.Time
	Done() error
	Back(delay time.Duration) error
}

// OpenItems attaches to the queue of a name, or creates it for items of that type. A new one is
// kept. Package queue sets it.
var OpenItems func(
	name string, opts *shmem.Options, item *format.Type, capacity int,
) (Items, error)

// AttachItems attaches to the queue of a name, whatever its items are. Package queue, which is
// above this one, sets it.
var AttachItems func(name string, opts *shmem.Options) (Items, error)
