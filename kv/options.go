package kv

import (
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/table"
)

// Options say how a [Map] is created or attached to. A nil *Options, and the zero value of each
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
	// Where the map exists, a Mode that is set must be the one it has.
	Mode fs.FileMode
	// Group shares the segment with a group, by name or number; see shmem.Options. Default: none.
	Group string
	// Slots is how many attachments there can be at a time, 1 to 1024. Default: 256. Where the map
	// exists, Slots that are set must be those it was created with.
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

	// Capacity is how many entries there is room for, 1 to 2^30. Default: 1024. Where the map
	// exists, a Capacity that is set must be the one it was created with.
	Capacity int
	// Evict removes entries that were not used lately where there is no room for another one,
	// instead of ErrFull. Create only.
	Evict bool
}

const defaultCapacity = 1024

// Errors to be tested for with errors.Is. The calls also return shmem.ErrClosed after Close,
// shmem.ErrReadOnly, shmem.ErrCorrupt, the context's error, and when opening those of package
// shmem.
var (
	// ErrFull is returned when an entry is stored for which there is no room. With Options.Evict
	// it is returned only if processes that are stopped, or that store entries too, hold all of
	// what could be evicted.
	ErrFull = stream.ErrFull
)

// A config is the options with every default in place.
type config struct {
	segment  *shmem.Options
	capacity int
	evict    bool
	claim    int // the Capacity that is asked for; 0: none
}

func (o *Options) config() (config, error) {
	if o == nil {
		o = new(Options)
	}
	c := config{capacity: o.Capacity, evict: o.Evict, claim: o.Capacity}
	c.segment = &shmem.Options{
		Dir: o.Dir, Disk: o.Disk, Timeout: o.Timeout, Mode: o.Mode, Group: o.Group, Slots: o.Slots,
		Lifetime: o.Lifetime,
		Passive:  o.Passive,
		ReadOnly: o.ReadOnly, AnyUser: o.AnyUser, Populate: o.Populate, HugePages: o.HugePages,
		Logger: o.Logger,
		Undo:   shmem.UndoNever,
	}
	if c.capacity == 0 {
		c.capacity = defaultCapacity
	}
	if c.capacity < 0 || c.capacity > table.MaxCapacity {
		return c, fmt.Errorf("%w: Options.Capacity %d: must be 1 to 2^30", shmem.ErrBadOption,
			c.capacity)
	}
	return c, nil
}

// check compares the options with the map that is there.
func (c *config) check(l *layout.Map) error {
	if err := stream.Claim("Options", "Capacity", l.Capacity(), c.claim); err != nil {
		return err
	}
	if c.evict && !l.Evicting {
		return fmt.Errorf("the segment was created without Evict, Options.Evict asks for it; " +
			"leave the option out")
	}
	return nil
}
