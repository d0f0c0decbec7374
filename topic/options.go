package topic

import (
	"errors"
	"fmt"

	"github.com/shmembox/shmem"
)

// Options say how a topic is created or attached to. A nil *Options, and the zero value of each field, is the
// default.
type Options struct {
	// Options are those of the segment. A topic has its own ideas of Init, Undo, Reserve, Append and
	// Foreign: they must be left alone.
	shmem.Options

	// Capacity is how many messages are kept. Default: 1024. Create only.
	Capacity int
	// Hold, if not 0, makes subscribers hold publishers back, and is how many subscribers there can be
	// at a time, 1 to 65536. Create only.
	Hold int
}

const defaultCapacity = 1024

// Errors to be tested for with errors.Is. Besides these the calls return shmem.ErrClosed after Close,
// shmem.ErrReadOnly, shmem.ErrCorrupt, the context's error, and those of package shmem when opening. Receiving
// calls return io.EOF when the topic has ended.
var (
	// ErrEnded: the topic has ended by End; nothing more can be published.
	ErrEnded = errors.New("topic: it has ended by End; a topic that is removed and created anew begins another")
	// ErrEmpty: there is no message that can be received now.
	ErrEmpty = errors.New("topic: nothing there")
	// ErrFull: TryPublish found that a subscriber holds it back; Subscribe found that Options.Hold subscribers
	// are there.
	ErrFull = errors.New("topic: full")
	// ErrLost: the message was overwritten while RecvFunc's function looked at it; what it saw is worthless.
	ErrLost = errors.New("topic: overwritten while it was read")
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
	switch {
	case f.Capacity < 0 || int64(f.Capacity) > 1<<31:
		return nil, fmt.Errorf("Options.Capacity %d: must be 1 to 2^31", f.Capacity)
	case f.Hold < 0 || f.Hold > 1<<16:
		return nil, fmt.Errorf("Options.Hold %d: must be 0 to 65536", f.Hold)
	case f.Init != nil, f.Undo != shmem.UndoAuto, f.Reserve != 0, f.Append, f.Foreign, f.Offset != 0:
		return nil, errors.New("Options.Init, Undo, Reserve, Append, Foreign and Offset are not for topics")
	}
	f.Undo = shmem.UndoNever
	return &f, nil
}
