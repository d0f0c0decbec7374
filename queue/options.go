package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shmembox/shmem"
)

// Options say how a queue is created or attached to. A nil *Options, and the zero value of each field,
// is the default.
type Options struct {
	// Dir is the directory of the segment, on a tmpfs. Default: /dev/shm.
	Dir string
	// Timeout is how long opening and closing wait for another process that is in the middle of
	// creating, attaching or closing, before shmem.ErrBusy. Default: 5 s.
	Timeout time.Duration
	// Mode is the file's permission bits, whatever the umask is. Default: 0600. Create only.
	Mode fs.FileMode
	// Slots is how many attachments there can be at a time, 1 to 1024. Default: 256. Create only.
	Slots int
	// Kept creates the segment without an owner: it stays until it is owned or removed. Create only.
	Kept bool
	// ReadOnly attaches without the right to write.
	ReadOnly bool
	// AnyUser accepts a segment that another user created. Its owner can do with it what it likes.
	AnyUser bool
	// Populate is how large the segment may be, in bytes, for its pages to be made present when it
	// is mapped. Default: 64 MiB. Negative: none.
	Populate int
	// HugePages asks for huge pages, where the mount has them.
	HugePages bool

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
	// ErrEnded: the stream has ended by End; nothing more can be sent.
	ErrEnded = errors.New("queue: the stream has ended by End; a queue that is removed and created anew begins another")
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
	}
	f.Bytes = max((f.Bytes+7)&^7, 16)
	return &f, nil
}

// segment is the part of the options that describes the segment.
func (o *Options) segment() *shmem.Options {
	return &shmem.Options{
		Dir: o.Dir, Timeout: o.Timeout, Mode: o.Mode, Slots: o.Slots, Kept: o.Kept, ReadOnly: o.ReadOnly,
		AnyUser: o.AnyUser, Populate: o.Populate, HugePages: o.HugePages, Undo: shmem.UndoNever,
	}
}
