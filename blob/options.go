package blob

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/pool"
	"github.com/shmembox/shmem/internal/stream"
)

// Options say how a [Pool] is created or attached to. A nil *Options, and the zero value of each
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
	// Where the pool exists, a Mode that is set must be the one it has.
	Mode fs.FileMode
	// Group shares the segment with a group, by name or number; see shmem.Options. Default: none.
	Group string
	// Slots is how many attachments there can be at a time, 1 to 1024. Default: 256. Where the pool
	// exists, Slots that are set must be those it was created with.
	Slots int
	// Lifetime says when the segment ends. Default: shmem.Shared when it is created; where the
	// segment exists, a Lifetime that is set must be the one it was created with.
	Lifetime shmem.Lifetime
	// ReadOnly attaches without the right to write. Only Pool.Append reads buffers then.
	ReadOnly bool
	// AnyUser accepts a segment that another user created. Its owner can do with it what it likes.
	AnyUser bool
	// Populate is how large the segment may be, in bytes, for its pages to be made present when it
	// is mapped. Default: 64 MiB. Negative: none.
	Populate int
	// HugePages makes the pages huge where the kernel can; see shmem.Options.
	HugePages bool
	// Logger gets a record of what the library does after deaths; see shmem.Options.
	Logger *slog.Logger

	// Size is the memory of all buffers together in bytes. All of it is reserved when the pool is
	// created, and it never becomes more. Some words for each buffer come beside it. Default:
	// 32 MiB, or what Classes come to.
	Size int
	// Classes are the sizes of buffers, each larger than the one before, at most 16. Default: 5,
	// 17, 65, 257, 1025 and 4097 KiB: a payload of a power of two, and 1 KiB for what a message has
	// beside it. They have equal parts of Size; a small Size leaves the
	// largest out. Where the pool exists, Size and Classes that are
	// set must be those it was created with.
	Classes []Class
	// Shares is how many shares a buffer can have at a time, 1 to 64: as many attachments can hold
	// it, or messages that were handed over. Default: 8. Where the pool exists, Shares that are set
	// must be those it was created with.
	Shares int
}

// A Class is some buffers of one size.
type Class struct {
	Size  int // of a buffer in bytes; it is rounded up to a multiple of 64
	Count int // how many there are; 0: as many as fit into an equal part of Options.Size
}

const (
	defaultSize   = 32 << 20
	defaultShares = 8
	maxSize       = 1 << 46
	// DefaultLease is the time in which a handle must be resolved that was handed over without
	// another one.
	DefaultLease = 10 * time.Second
	// MaxLease is the longest such time.
	MaxLease = pool.MaxLease * time.Millisecond
)

// Errors to be tested for with errors.Is. The calls also return shmem.ErrClosed after Close,
// shmem.ErrReadOnly, shmem.ErrCorrupt, the context's error, and when opening those of package
// shmem.
var (
	// ErrFull is returned by TryTake when no buffer is free that is large enough.
	ErrFull = stream.ErrFull
	// ErrTooLarge is returned for more bytes than a buffer, or the largest buffer of the pool, has.
	ErrTooLarge = errors.New("too large for a buffer")
	// ErrStale is returned for a handle whose buffer was freed, that another process has resolved,
	// or that is none.
	ErrStale = errors.New("the buffer of the handle was freed")
	// ErrOtherPool is returned for a handle of another pool.
	ErrOtherPool = errors.New("the handle is one of another pool")
	// ErrShared is returned by calls that change a buffer or hand it over while it has another
	// share, or another call uses it. A process that resolves a stale handle, of an earlier use of
	// the buffer, has a share for a moment too, before it gets ErrStale.
	ErrShared = errors.New("the buffer is used by others")
	// ErrNoShare is returned when a buffer has as many shares as Options.Shares allows.
	ErrNoShare = errors.New("all shares of the buffer are taken")
)

var (
	errFull = &errs.Worded{
		Text: "no buffer of that size is free; close buffers sooner, or create the pool with " +
			"more of them",
		Sentinel: ErrFull,
	}
	errStale = &errs.Worded{
		Text: "the buffer of the handle was freed, or another process has resolved it; keep a " +
			"Buffer until the receiver has resolved the handle, or hand it over for longer",
		Sentinel: ErrStale,
	}
	errOtherPool = &errs.Worded{
		Text:     "the handle is one of another pool; attach to the pool of the sender",
		Sentinel: ErrOtherPool,
	}
	errShared = &errs.Worded{
		Text: "the buffer has another share; only the holder of all shares can write: take " +
			"another buffer for the copy",
		Sentinel: ErrShared,
	}
	errInUse = &errs.Worded{
		Text:     "another call uses the buffer; hand it over when that has returned",
		Sentinel: ErrShared,
	}
	errNoShare = &errs.Worded{
		Text: "all shares of the buffer are taken; close some, or create the pool with more " +
			"Options.Shares",
		Sentinel: ErrNoShare,
	}
	errPoolClosed   = errs.NamedClosed("pool")
	errBufferClosed = errs.NamedClosed("buffer")
)

// segment are the options of the segment.
func (o *Options) segment() *shmem.Options {
	return &shmem.Options{
		Dir: o.Dir, Disk: o.Disk, Timeout: o.Timeout, Mode: o.Mode, Group: o.Group, Slots: o.Slots,
		Lifetime: o.Lifetime,
		ReadOnly: o.ReadOnly, AnyUser: o.AnyUser, Populate: o.Populate, HugePages: o.HugePages,
		Logger: o.Logger,
		Undo:   shmem.UndoNever,
	}
}

// layout is the layout of a new pool.
func (o *Options) layout() (*layout.Pool, error) {
	shares := o.Shares
	if shares == 0 {
		shares = defaultShares
	}
	if shares < 1 || shares > pool.MaxShares {
		return nil, badOption("Shares %d: must be 1 to %d", o.Shares, pool.MaxShares)
	}
	classes, err := o.classes()
	if err != nil {
		return nil, err
	}
	n := 0
	for _, c := range classes {
		n += c.Count
	}
	if n > pool.MaxBuffers {
		return nil, badOption("Classes have %d buffers: must be at most %d", n, pool.MaxBuffers)
	}
	return layout.NewPool(classes, shares)
}

// usualClasses returns the default classes, of which a budget has room for the largest.
func usualClasses(budget int) (list []Class) {
	for size := 4 << 10; size <= 4<<20; size *= 4 {
		if n := len(list); n == 0 || size < budget/(n+1) {
			list = append(list, Class{Size: size + 1<<10})
		}
	}
	return list
}

// classes returns the sizes and numbers of buffers.
func (o *Options) classes() ([]layout.Class, error) {
	size, list := o.Size, o.Classes
	if size < 0 || int64(size) > maxSize {
		return nil, badOption("Size %d: must be at most 2^46, and not negative", size)
	}
	budget := size
	if size == 0 {
		budget = defaultSize
	}
	if len(list) == 0 {
		list = usualClasses(budget)
	}
	if len(list) > layout.MaxClasses {
		return nil, badOption("Classes: %d of them, must be at most %d", len(list),
			layout.MaxClasses)
	}
	part := budget / len(list)
	total, before := int64(0), 0
	classes := make([]layout.Class, 0, len(list))
	for i, c := range list {
		if c.Size <= before || int64(c.Size) > maxSize || c.Count < 0 ||
			c.Count > pool.MaxBuffers {
			return nil, badOption(
				"Classes[%d] is %+v: sizes must grow, and there can be %d buffers",
				i, c, pool.MaxBuffers)
		}
		before = (c.Size + layout.BufferAlign - 1) / layout.BufferAlign * layout.BufferAlign
		count := c.Count
		if count == 0 {
			count = min(max(part/before, 1), pool.MaxBuffers/len(list))
		}
		classes = append(classes, layout.Class{Size: before, Count: count})
		total += int64(before) * int64(count)
	}
	if size != 0 && total > int64(size) {
		return nil, badOption("Size %d: the buffers of Classes need %d", size, total)
	}
	return classes, nil
}

// check compares the options with the pool that is there.
func (o *Options) check(l *layout.Pool) error {
	if err := stream.Claim("Options", "Shares", l.Shares, o.Shares); err != nil {
		return err
	}
	if o.Size == 0 && len(o.Classes) == 0 {
		return nil
	}
	asked, err := o.classes()
	if err != nil {
		return err
	}
	same := slices.EqualFunc(asked, l.Classes, func(a, b layout.Class) bool {
		return a.Size == b.Size && a.Count == b.Count
	})
	if !same {
		return fmt.Errorf("the segment was created with other buffers than Options.Size and " +
			"Options.Classes ask for; leave these options out")
	}
	return nil
}

func badOption(format string, args ...any) error {
	return fmt.Errorf("%w: Options."+format, append([]any{shmem.ErrBadOption}, args...)...)
}
