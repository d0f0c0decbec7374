package queue

import (
	"errors"
	"fmt"

	"github.com/shmembox/shmem"
)

// Options say how a queue is created or attached to. A nil *Options, and the zero value of each field,
// is the default.
type Options struct {
	// Options are those of the segment. A queue has its own ideas of Init, Undo, Reserve, Append and
	// Foreign: they must be left alone.
	shmem.Options

	// Capacity is how many messages there is room for. Default: 1024. Create only.
	Capacity int
	// Bytes is how many bytes of messages a Bytes has room for, rounded up to a multiple of 8.
	// Default: 1 MiB. Create only.
	Bytes int
	// Single makes the queue one for one sender and one receiver at a time, which is several times as
	// fast. Who sends or receives first has that end until it closes its attachment (or its Sender or
	// Receiver); a second one gets ErrTaken while the first lives. Create only.
	Single bool
}

// Defaults of Options.
const (
	defaultCapacity = 1024
	defaultBytes    = 1 << 20
)

// Errors to be tested for with errors.Is. Besides these the calls return shmem.ErrClosed after Close,
// shmem.ErrReadOnly, shmem.ErrCorrupt, the context's error, and those of package shmem when opening.
// Receiving calls return io.EOF when the stream has ended.
var (
	// ErrFull: TrySend found no room.
	ErrFull = errors.New("queue: full")
	// ErrEmpty: TryRecv found no message that can be received now.
	ErrEmpty = errors.New("queue: empty")
	// ErrEnded: the stream has ended by CloseSend; nothing more can be sent.
	ErrEnded = errors.New("queue: the stream has ended by CloseSend; a queue that is removed and created anew begins another")
	// ErrTaken: another sender, or receiver, has this end of a Single queue, and lives.
	ErrTaken = errors.New("this end of the Single queue is taken")
	// ErrTooBig: the message is larger than MaxLen, and will never fit.
	ErrTooBig = errors.New("message larger than fits")
)

// filled is a copy with every default in place.
func (o *Options) filled() (*Options, error) {
	var f Options
	if o != nil {
		f = *o
	}
	if f.Capacity == 0 {
		f.Capacity = defaultCapacity
	}
	if f.Bytes == 0 {
		f.Bytes = defaultBytes
	}
	switch {
	case f.Capacity < 0 || int64(f.Capacity) > 1<<31:
		return nil, fmt.Errorf("Options.Capacity %d: must be 1 to 2^31", f.Capacity)
	case f.Bytes < 0 || int64(f.Bytes) > 1<<40:
		return nil, fmt.Errorf("Options.Bytes %d: must be 1 to 2^40", f.Bytes)
	case f.Init != nil, f.Undo != shmem.UndoAuto, f.Reserve != 0, f.Append, f.Foreign, f.Offset != 0:
		return nil, errors.New("Options.Init, Undo, Reserve, Append, Foreign and Offset are not for queues")
	}
	f.Bytes = max((f.Bytes+7)&^7, 16)
	f.Undo = shmem.UndoNever
	return &f, nil
}
