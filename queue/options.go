package queue

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
)

// Options say how a [Queue] is created or attached to. A nil *Options, and the zero value of each
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
	// Where the queue exists, a Mode that is set must be the one it has.
	Mode fs.FileMode
	// Group shares the segment with a group, by name or number; see shmem.Options. Default: none.
	Group string
	// Slots is how many attachments there can be at a time, 1 to 1024. Default: 256. Where the
	// queue exists, Slots that are set must be those it was created with.
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

	// Capacity is how many messages there is room for, 1 to 2^31. Default: 1024. Where the queue
	// exists, a Capacity that is set must be the one it was created with.
	Capacity int
	// Single limits the queue to one sender and one receiver at a time, which makes it several
	// times as fast. The first caller that sends, or receives, has that end until it closes its
	// attachment (or its Sender or Receiver). Until then other callers get ErrTaken, unless its
	// process dies. Where the queue exists and is not Single, asking for it is an error.
	Single bool
	// Stamped makes each message carry when it was sent; see Lease.Time and Receiver.Time. It costs
	// the sender a look at the clock. Default: false. Where the queue exists, Stamped that is set
	// must be what it was created with.
	Stamped bool

	// Reserve is spare room behind each message, in bytes, for fields that later versions of T
	// append. Default: none. Where the queue exists, a Reserve that is set must be the one it was
	// created with.
	Reserve int
	// Append appends the last fields of T to a queue whose messages do not have them, if there is
	// room (see Reserve) and the creator set Reserve or Append. It also accepts a queue whose
	// messages have more fields, behind those of T; one whose creator set Reserve or Append needs
	// no Append for that.
	Append bool

	// LeaseTimeout is how long a receiver of any process may have a message in RecvFunc or by Take.
	// After that a receiver or sender of this attachment that waits makes the message be
	// redelivered, as if its receiver had died; the late one gets ErrLeaseLost, and what it reads
	// in place may change. Default: as long as it lives. A Single queue has no such limit. It and
	// delays go by the machine's date: to set that moves them.
	LeaseTimeout time.Duration
	// RetryDelay is how long a message waits until it is redelivered, after RecvFunc has failed in
	// this attachment, or after this attachment has found the death of a receiver. A delay ends
	// early when the queue is full because of the message, which comes at most every 10 ms then.
	// Default: it is redelivered at once, before all others; a receiver that fails each time has no
	// rest. A Single queue knows no delay.
	RetryDelay time.Duration
	// DeadLetters is the name of a queue, in the same directory, which gets the messages that were
	// delivered MaxDeliveries times and not consumed. It is created if it is not there. While it is
	// full such messages are delivered again. Default: none. A Single queue counts no deliveries.
	DeadLetters string
	// MaxDeliveries is how often a message is delivered before it goes to DeadLetters, 1 to 254.
	// Default: 5.
	MaxDeliveries int
}

// BytesOptions say how a [Bytes] is created or attached to. A nil *BytesOptions, and the zero value
// of each field, is the default.
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
	// Where the queue exists, a Mode that is set must be the one it has.
	Mode fs.FileMode
	// Group shares the segment with a group, by name or number; see shmem.Options. Default: none.
	Group string
	// Slots is how many attachments there can be at a time, 1 to 1024. Default: 256. Where the
	// queue exists, Slots that are set must be those it was created with.
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

	// Capacity is how many messages there is room for, 1 to 2^31. Default: 1024. A Single queue is
	// bounded by Bytes alone and ignores it. Where the queue exists, a Capacity that is set must be
	// the one it was created with.
	Capacity int
	// Bytes is how many bytes of messages there is room for, 1 to 2^40, rounded up to a multiple of
	// 8. A Single queue needs at least 32, and has messages of up to about half of it. Default: 1
	// MiB. Where the queue exists, Bytes that are set must be those it was created with.
	Bytes int
	// Single limits the queue to one sender and one receiver at a time, as in Options.
	Single bool
	// Stamped makes each message carry when it was sent; see Options.Stamped. In a Single queue
	// each message takes 8 bytes more then, and Bytes must be at least 48.
	Stamped bool

	// LeaseTimeout is how long a receiver of any process may have a message in RecvFunc or by Take.
	// After that a receiver or sender of this attachment that waits makes the message be
	// redelivered, as if its receiver had died; the late one gets ErrLeaseLost, and what it reads
	// in place may change. Default: as long as it lives. A Single queue has no such limit. It and
	// delays go by the machine's date: to set that moves them.
	LeaseTimeout time.Duration
	// RetryDelay is how long a message waits until it is redelivered, after RecvFunc has failed in
	// this attachment, or after this attachment has found the death of a receiver. A delay ends
	// early when the queue is full because of the message, which comes at most every 10 ms then.
	// Default: it is redelivered at once, before all others; a receiver that fails each time has no
	// rest. A Single queue knows no delay.
	RetryDelay time.Duration
	// DeadLetters is the name of a queue, in the same directory, which gets the messages that were
	// delivered MaxDeliveries times and not consumed. It is created if it is not there. While it is
	// full such messages are delivered again. Default: none. A Single queue counts no deliveries.
	DeadLetters string
	// MaxDeliveries is how often a message is delivered before it goes to DeadLetters, 1 to 254.
	// Default: 5.
	MaxDeliveries int
}

// Defaults and limits of the options.
const (
	defaultDeliveries = 5

	defaultCapacity = 1024
	maxCapacity     = 1 << 31
	defaultBytes    = 1 << 20
	maxBytes        = 1 << 40
)

// Errors to be tested for with errors.Is. The calls also return shmem.ErrClosed after Close,
// shmem.ErrReadOnly, shmem.ErrCorrupt, the context's error, and when opening those of package
// shmem. Receiving calls return io.EOF when the stream has ended.
var (
	// ErrFull is returned when TrySend finds no room.
	ErrFull = stream.ErrFull
	// ErrEmpty is returned when TryRecv finds no message that can be received now.
	ErrEmpty = stream.ErrEmpty
	// ErrEnded is returned when a message is sent to a queue whose stream has ended (End).
	ErrEnded = stream.ErrEnded
	// ErrUnlinked is returned when the name was taken from the queue: its owner closed it, or it
	// was removed. Receiving calls return it when no message is left. It is shmem.ErrUnlinked.
	ErrUnlinked = shmem.ErrUnlinked
	// ErrTaken is returned when another sender or receiver, which lives, has that end of a Single
	// queue.
	ErrTaken = errors.New("this end of the Single queue is taken")
	// ErrTooBig is returned when a message is larger than MaxLen: it will never fit.
	ErrTooBig = errors.New("message too large")
	// ErrLeaseLost is returned when a receiver is done with a message whose lease has ended before:
	// by Done or Back, by Options.LeaseTimeout, by an operator, or because this process was taken
	// for dead. Unless the caller itself has ended it, the message is redelivered.
	ErrLeaseLost = errors.New("the lease on the message has ended; it may be redelivered")
)

// A config is the options of either kind of queue, with every default in place.
type config struct {
	segment         *shmem.Options
	capacity, bytes int
	reserve         int
	single, stamped bool
	claims          claims
	care            care
	most            int    // deliveries
	options         string // the name of the struct of options
}

// claims are what the options ask for of a queue that is there; 0 is no claim.
type claims struct{ capacity, bytes int }

// check compares the claims with what the queue was created with.
func (c *config) check(l *layout.Queue) error {
	capacity, bytes := c.claims.capacity, (c.claims.bytes+7)&^7
	if l.Item == nil && l.Single {
		capacity = 0 // it is bounded by Bytes alone
	}
	err := errors.Join(
		stream.Claim(c.options, "Capacity", l.Capacity, capacity),
		stream.Claim(c.options, "Bytes", l.Bytes, bytes))
	if c.single && !l.Single {
		err = errors.Join(err, fmt.Errorf("the segment was created without Single, "+
			"%s.Single asks for it; leave the option out", c.options))
	}
	if c.stamped {
		err = errors.Join(err, stream.ClaimStamps(c.options, l.Stamped))
	}
	return err
}

// stamp returns the layout of a new queue, with time stamps if the options say so.
func (c *config) stamp(l *layout.Queue, err error) (*layout.Queue, error) {
	if err != nil || !c.stamped {
		return l, err
	}
	return l.WithStamps()
}

func (o *Options) config() (config, error) {
	if o == nil {
		o = new(Options)
	}
	c := config{capacity: o.Capacity, reserve: o.Reserve, most: o.MaxDeliveries}
	c.single, c.stamped = o.Single, o.Stamped
	c.care = care{o.RetryDelay, o.LeaseTimeout}
	c.claims.capacity = o.Capacity
	c.segment = &shmem.Options{
		Dir: o.Dir, Disk: o.Disk, Timeout: o.Timeout, Mode: o.Mode, Group: o.Group, Slots: o.Slots,
		Lifetime: o.Lifetime,
		Passive:  o.Passive,
		ReadOnly: o.ReadOnly, AnyUser: o.AnyUser, Populate: o.Populate, HugePages: o.HugePages,
		Logger: o.Logger,
		Undo:   shmem.UndoNever, Append: o.Append,
	}
	return c, c.fill("Options")
}

func (o *BytesOptions) config() (config, error) {
	if o == nil {
		o = new(BytesOptions)
	}
	c := config{capacity: o.Capacity, bytes: o.Bytes, most: o.MaxDeliveries}
	c.single, c.stamped = o.Single, o.Stamped
	c.care = care{o.RetryDelay, o.LeaseTimeout}
	c.claims = claims{o.Capacity, o.Bytes}
	c.segment = &shmem.Options{
		Dir: o.Dir, Disk: o.Disk, Timeout: o.Timeout, Mode: o.Mode, Group: o.Group, Slots: o.Slots,
		Lifetime: o.Lifetime,
		Passive:  o.Passive,
		ReadOnly: o.ReadOnly, AnyUser: o.AnyUser, Populate: o.Populate, HugePages: o.HugePages,
		Logger: o.Logger,
		Undo:   shmem.UndoNever,
	}
	return c, c.fill("BytesOptions")
}

// fill puts defaults in place, and refuses what is out of range.
func (c *config) fill(options string) error {
	c.options = options
	if c.capacity == 0 {
		c.capacity = defaultCapacity
	}
	if c.bytes == 0 {
		c.bytes = defaultBytes
	}
	switch {
	case c.reserve < 0:
		return fmt.Errorf("%w: %s.Reserve %d is negative; use 0 or more", shmem.ErrBadOption,
			options, c.reserve)
	case c.capacity < 0 || int64(c.capacity) > maxCapacity:
		return fmt.Errorf("%w: %s.Capacity %d: must be 1 to 2^31", shmem.ErrBadOption, options,
			c.capacity)
	case c.care.delay < 0 || c.care.limit < 0:
		return fmt.Errorf("%w: %s.RetryDelay or LeaseTimeout is negative; use 0 or more",
			shmem.ErrBadOption, options)
	case c.most < 0 || c.most > 254:
		return fmt.Errorf("%w: %s.MaxDeliveries %d: must be 1 to 254", shmem.ErrBadOption, options,
			c.most)
	case c.bytes < 0 || int64(c.bytes) > maxBytes:
		return fmt.Errorf("%w: %s.Bytes %d: must be 1 to 2^40", shmem.ErrBadOption, options,
			c.bytes)
	}
	c.bytes = (c.bytes + 7) &^ 7
	least := layout.MinSingleBytes
	if c.stamped {
		least = layout.MinStampedBytes
	}
	if c.single && c.bytes < least {
		return fmt.Errorf("%w: %s.Bytes %d: too few for a message of a Single queue; use at "+
			"least %d",
			shmem.ErrBadOption, options, c.bytes, least)
	}
	return nil
}

func (o *Options) most() int      { return cmp.Or(o.MaxDeliveries, defaultDeliveries) }
func (o *BytesOptions) most() int { return cmp.Or(o.MaxDeliveries, defaultDeliveries) }
