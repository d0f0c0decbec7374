package topic

import (
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/stream"
)

// Options say how a topic is created or attached to. A nil *Options, and the zero value of each
// field, is the default.
type Options struct {
	// Dir is the directory of the segment, on a tmpfs. Default: /dev/shm.
	Dir string
	// Disk accepts a Dir that is on a disk, to which the kernel writes every change of the memory.
	// Without it such a Dir is shmem.ErrBadOption.
	Disk bool
	// Timeout is how long opening and closing wait for another process that is in the middle of
	// creating, attaching or closing, before shmem.ErrBusy. Default: 5 s. It cannot be negative.
	Timeout time.Duration
	// Mode is the file's permission bits, whatever the umask is. Default: 0600, or 0660 with Group.
	// Where the topic exists, a Mode that is set must be the one it has.
	Mode fs.FileMode
	// Group shares the segment with a group, by name or number; see shmem.Options. Default: none.
	Group string
	// Slots is how many attachments there can be at a time, 1 to 1024. Default: 256. Where the
	// topic exists, Slots that are set must be those it was created with.
	Slots int
	// Lifetime says when the segment ends. Default: shmem.Shared when it is created; where the
	// segment exists, a Lifetime that is set must be the one it was created with.
	Lifetime shmem.Lifetime
	// Passive attaches without a part in the segment's life; see shmem.Options. Default: no.
	Passive bool
	// ReadOnly attaches without the right to write.
	ReadOnly bool
	// AnyUser accepts a segment that another user created. Its owner can do with it what it likes.
	AnyUser bool
	// Populate is how large the segment may be, in bytes, for its pages to be made present when it
	// is mapped. Default: 64 MiB. Negative: none.
	Populate int
	// HugePages makes the pages huge where the kernel can; see shmem.Options.
	HugePages bool
	// Logger gets a record of what the library does after deaths and losses; see shmem.Options.
	Logger *slog.Logger

	// Capacity is how many messages are kept, 1 to 2^31. Default: 1024. Where the topic exists, a
	// Capacity that is set must be the one it was created with.
	Capacity int
	// Holds is how many subscriptions there can be at a time that hold publishers back: no message
	// is overwritten before each of them has received it. At most 65536. Default: 0. In a topic
	// with holds a subscription takes one, unless its Delivery is another one. Where the topic
	// exists, Holds that are set must be those it was created with.
	Holds int
	// Stamped makes each message carry when it was published; see Subscription.Time. It costs the
	// publisher a look at the clock. Default: false. Where the topic exists, Stamped that is set
	// must be what it was created with.
	Stamped bool

	// Reserve is spare room behind each message, in bytes, for fields that later versions of T
	// append. Default: none. Where the topic exists, a Reserve that is set must be the one it was
	// created with.
	Reserve int
	// Append appends the last fields of T to a topic whose messages do not have them, if there is
	// room (see Reserve) and the creator set Reserve or Append. It also accepts a topic whose
	// messages have more fields, behind those of T; one whose creator set Reserve or Append needs
	// no Append for that.
	Append bool
}

// BytesOptions say how a topic of bytes is created or attached to. A nil *BytesOptions, and the
// zero value of each field, is the default.
type BytesOptions struct {
	// Dir is the directory of the segment, on a tmpfs. Default: /dev/shm.
	Dir string
	// Disk accepts a Dir that is on a disk, to which the kernel writes every change of the memory.
	// Without it such a Dir is shmem.ErrBadOption.
	Disk bool
	// Timeout is how long opening and closing wait for another process that is in the middle of
	// creating, attaching or closing, before shmem.ErrBusy. Default: 5 s. It cannot be negative.
	Timeout time.Duration
	// Mode is the file's permission bits, whatever the umask is. Default: 0600, or 0660 with Group.
	// Where the topic exists, a Mode that is set must be the one it has.
	Mode fs.FileMode
	// Group shares the segment with a group, by name or number; see shmem.Options. Default: none.
	Group string
	// Slots is how many attachments there can be at a time, 1 to 1024. Default: 256. Where the
	// topic exists, Slots that are set must be those it was created with.
	Slots int
	// Lifetime says when the segment ends. Default: shmem.Shared when it is created; where the
	// segment exists, a Lifetime that is set must be the one it was created with.
	Lifetime shmem.Lifetime
	// Passive attaches without a part in the segment's life; see shmem.Options. Default: no.
	Passive bool
	// ReadOnly attaches without the right to write.
	ReadOnly bool
	// AnyUser accepts a segment that another user created. Its owner can do with it what it likes.
	AnyUser bool
	// Populate is how large the segment may be, in bytes, for its pages to be made present when it
	// is mapped. Default: 64 MiB. Negative: none.
	Populate int
	// HugePages makes the pages huge where the kernel can; see shmem.Options.
	HugePages bool
	// Logger gets a record of what the library does after deaths and losses; see shmem.Options.
	Logger *slog.Logger

	// Capacity is how many messages are kept at most, 1 to 2^31. Default: 1024. Where the topic
	// exists, a Capacity that is set must be the one it was created with.
	Capacity int
	// Bytes is how many bytes the messages that are kept can have, each rounded up to 8. It is also
	// the length of the largest message. At most 2^40, rounded up to 8. Default: 1 MiB. Where the
	// topic exists, Bytes that are set must be those it was created with.
	Bytes int
	// Holds is how many subscriptions there can be at a time that hold publishers back; see
	// Options.Holds.
	Holds int
	// Stamped makes each message carry when it was published; see Options.Stamped.
	Stamped bool
}

const (
	defaultCapacity = 1024
	defaultBytes    = 1 << 20
	maxBytes        = 1 << 40
	maxHolds        = 1 << 16
)

// Errors to be tested for with errors.Is. The calls also return shmem.ErrClosed after Close,
// shmem.ErrReadOnly, shmem.ErrCorrupt, the context's error, and when opening those of package
// shmem. Receiving calls return io.EOF when the topic has ended.
var (
	// ErrEnded is returned when a message is published to a topic that has ended (End).
	ErrEnded = stream.ErrEnded
	// ErrUnlinked is returned when the name was taken from the topic: its owner closed it, or it
	// was removed. Receiving calls return it when no message is left. It is shmem.ErrUnlinked.
	ErrUnlinked = shmem.ErrUnlinked
	// ErrEmpty is returned when TryRecv or Latest finds no message that can be received now.
	ErrEmpty = stream.ErrEmpty
	// ErrFull is returned when TryPublish finds that a subscription or another publisher holds it
	// back.
	ErrFull = stream.ErrFull
	// ErrNoHold is returned when Subscribe finds that all holds of the topic are taken.
	ErrNoHold = stream.ErrNoHold
	// ErrTooBig is returned when a message is larger than Bytes.MaxLen: it will never fit.
	ErrTooBig = stream.ErrTooBig
	// ErrLost is returned when RecvFunc's message was overwritten while its function read it.
	ErrLost = stream.ErrLost
)

// filled returns a copy with every default in place.
func (o *Options) filled() (*Options, error) {
	var f Options
	if o != nil {
		f = *o
	}
	if f.Capacity == 0 {
		f.Capacity = defaultCapacity
	}
	if f.Reserve < 0 {
		return nil, fmt.Errorf("%w: Options.Reserve %d is negative; use 0 or more",
			shmem.ErrBadOption, f.Reserve)
	}
	return &f, inRange("Options", f.Capacity, f.Holds)
}

// filled returns a copy with every default in place.
func (o *BytesOptions) filled() (*BytesOptions, error) {
	var f BytesOptions
	if o != nil {
		f = *o
	}
	if f.Capacity == 0 {
		f.Capacity = defaultCapacity
	}
	if f.Bytes == 0 {
		f.Bytes = defaultBytes
	}
	if f.Bytes < 0 || int64(f.Bytes) > maxBytes || f.Bytes > math.MaxInt-7 {
		return nil, fmt.Errorf("%w: BytesOptions.Bytes %d: must be 1 to 2^40", shmem.ErrBadOption,
			f.Bytes)
	}
	f.Bytes = (f.Bytes + 7) &^ 7
	return &f, inRange("BytesOptions", f.Capacity, f.Holds)
}

func inRange(options string, capacity, holds int) error {
	switch {
	case capacity < 0 || int64(capacity) > 1<<31:
		return fmt.Errorf("%w: %s.Capacity %d: must be 1 to 2^31", shmem.ErrBadOption, options,
			capacity)
	case holds < 0 || holds > maxHolds:
		return fmt.Errorf("%w: %s.Holds %d: must be 0 to 65536", shmem.ErrBadOption, options, holds)
	}
	return nil
}

// segment returns the options of the topic's segment.
func (o *Options) segment() *shmem.Options {
	return &shmem.Options{
		Dir: o.Dir, Disk: o.Disk, Timeout: o.Timeout, Mode: o.Mode, Group: o.Group, Slots: o.Slots,
		Lifetime: o.Lifetime,
		Passive:  o.Passive,
		ReadOnly: o.ReadOnly, AnyUser: o.AnyUser, Populate: o.Populate, HugePages: o.HugePages,
		Logger: o.Logger,
		Undo:   shmem.UndoNever, Append: o.Append,
	}
}

// segment returns the options of the topic's segment.
func (o *BytesOptions) segment() *shmem.Options {
	return &shmem.Options{
		Dir: o.Dir, Disk: o.Disk, Timeout: o.Timeout, Mode: o.Mode, Group: o.Group, Slots: o.Slots,
		Lifetime: o.Lifetime,
		Passive:  o.Passive,
		ReadOnly: o.ReadOnly, AnyUser: o.AnyUser, Populate: o.Populate, HugePages: o.HugePages,
		Logger: o.Logger,
		Undo:   shmem.UndoNever,
	}
}
