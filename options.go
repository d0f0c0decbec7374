package shmem

import (
	"fmt"
	"io/fs"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

// Options say how a segment is created or attached to. A nil *Options, and the zero value of each
// field, is the default. Those that describe the segment itself count when it is created only.
type Options struct {
	// Dir is the directory of the segments, on a tmpfs. Default: /dev/shm, where shm_open of C
	// looks as well.
	Dir string
	// Timeout is how long to wait for another process that is in the middle of creating, attaching
	// or closing, before ErrBusy. Default: 5 s.
	Timeout time.Duration

	// Mode is the file's permission bits, whatever the umask is. Default: 0600. Create only.
	Mode fs.FileMode
	// Slots is how many attachments there can be at a time, 1 to 1024. Default: 256. Create only.
	Slots int
	// Kept creates the segment without an owner: it stays until it is owned or removed. Create only.
	Kept bool
	// Reserve is spare room behind the value, in bytes, for fields that later versions of the type
	// append. Create only.
	Reserve int
	// Undo says whether the segment has room for a second copy of the value, which View and
	// Update need to undo what a dying process did. Default: up to a value of 1 MiB. Create only.
	Undo Undo
	// Init prepares the value, a *T, like an Initializer and instead of it. Create only.
	Init func(value any) error

	// ReadOnly maps the value so that it cannot be changed. Where the file's permissions allow
	// reading only, it is the way to attach at all.
	ReadOnly bool
	// Append accepts a segment whose type has fewer fields than T, if T only appends fields (there
	// must be room: see Reserve), or more, if those are appended to T's.
	Append bool
	// AnyUser accepts a segment that another user created. Its owner can do with it what it likes.
	AnyUser bool
	// Foreign attaches to a file that has no control block of ours: one that another program made.
	// The name may be a path, such as /proc/PID/fd/N. It is never unlinked, locked or changed
	// but by what is written to the value. Attach only.
	Foreign bool
	// Offset is where in a foreign file the value begins, in bytes.
	Offset int64

	// Populate is how large a value may be, in bytes, for its pages to be made present when it is
	// mapped, so that their first use costs no page fault. Default: 64 MiB. Negative: none.
	Populate int
	// HugePages asks for huge pages, where the mount has them.
	HugePages bool
}

// Undo says whether a segment has room to undo changes.
type Undo int

// Values of Options.Undo.
const (
	UndoAuto   Undo = iota // for values of up to 1 MiB
	UndoAlways             // whatever it costs
	UndoNever              // no room for it
)

const (
	defaultSlots    = 256
	defaultTimeout  = 5 * time.Second
	defaultPopulate = 64 << 20
	undoAutoLimit   = 1 << 20
)

// filled is a copy with every default in place.
func (o *Options) filled() (*Options, error) {
	var f Options
	if o != nil {
		f = *o
	}
	if f.Dir == "" {
		f.Dir = sys.DefaultDir
	}
	if f.Mode == 0 {
		f.Mode = 0o600
	}
	if f.Slots == 0 {
		f.Slots = defaultSlots
	}
	if f.Timeout == 0 {
		f.Timeout = defaultTimeout
	}
	if f.Populate == 0 {
		f.Populate = defaultPopulate
	}
	switch {
	case f.Mode&^fs.ModePerm != 0:
		return nil, fmt.Errorf("Options.Mode %v: only permission bits can be set", f.Mode)
	case f.Mode&0o600 != 0o600:
		return nil, fmt.Errorf("Options.Mode %v: the owner must be able to read and write", f.Mode)
	case f.Slots < 1 || f.Slots > format.MaxSlots:
		return nil, fmt.Errorf("Options.Slots %d: must be 1 to %d", f.Slots, format.MaxSlots)
	case f.Reserve < 0:
		return nil, fmt.Errorf("Options.Reserve %d is negative", f.Reserve)
	case f.Timeout < 0:
		return nil, fmt.Errorf("Options.Timeout %v is negative", f.Timeout)
	case f.Offset < 0:
		return nil, fmt.Errorf("Options.Offset %d is negative", f.Offset)
	case f.Offset != 0 && !f.Foreign:
		return nil, fmt.Errorf("Options.Offset %d is for foreign segments (Options.Foreign)", f.Offset)
	case f.Undo < UndoAuto || f.Undo > UndoNever:
		return nil, fmt.Errorf("Options.Undo %d is none of its values", f.Undo)
	}
	return &f, nil
}

func (o *Options) image(payload int) bool {
	return o.Undo == UndoAlways || o.Undo == UndoAuto && payload <= undoAutoLimit
}
