package segment

import (
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/sys"
)

// Config says how a segment is created or attached to. The zero value of each field is the default.
// It is the plain twin of shmem.Options, which documents the fields; errors name a field Options.X.
type Config struct {
	Dir     string        // default: /dev/shm
	Timeout time.Duration // how long to try for the gate; default: 5 s

	// These count on creation only.
	Mode     fs.FileMode     // permission bits; default: 0600, with Group 0660
	Group    string          // group of the file; it is trusted like this user
	Slots    int             // attachments at a time, 1 to 1024; default: 256
	Lifetime format.Lifetime // when the segment ends; default: DefaultLifetime
	Reserve  int             // spare bytes behind the value
	// DefaultLifetime is that of a new segment where Lifetime is 0. Default: owned.
	DefaultLifetime format.Lifetime
	UndoLimit       int // largest payload with an undo image; default: 1 MiB; negative: none

	Passive  bool  // count for nothing in the life of the segment
	ReadOnly bool  // map the payload without write permission
	Append   bool  // accept a type that has fields appended
	AnyUser  bool  // accept another user's file, and one that its maker can truncate unseen
	Disk     bool  // accept a directory on a disk
	Foreign  bool  // attach to a file without a control block
	Offset   int64 // where the value of a foreign file begins

	Populate  int  // largest payload that is made present; default: 64 MiB; negative: none
	HugePages bool // ask for huge pages
	Unpinned  bool // the memory is read without a pin: see mem.Spec

	Logger *slog.Logger // gets notes of deaths and losses; default: none
	notes  *notes.Notes // for Logger; nil without it
}

const (
	defaultSlots     = 256
	defaultTimeout   = 5 * time.Second
	defaultPopulate  = 64 << 20
	defaultUndoLimit = 1 << 20
)

// withDefaults returns a copy of c in which every default is filled in, or says which field is
// invalid.
func (c Config) withDefaults() (*Config, error) {
	if c.Dir == "" {
		c.Dir = sys.DefaultDir
		if err := sys.MakeDefaultDir(); err != nil {
			return nil, fmt.Errorf("directory %s: %w; it must belong to this user alone "+
				"(mode 0700), or set Options.Dir to another one", c.Dir, err)
		}
	}
	if !filepath.IsAbs(c.Dir) {
		// The program may change its directory before it closes the segment.
		dir, err := filepath.Abs(c.Dir)
		if err != nil {
			return nil, fmt.Errorf("directory %s: %w; use an absolute path in Options.Dir", c.Dir,
				err)
		}
		c.Dir = dir
	}
	if c.Mode == 0 {
		c.Mode = 0o600
		if c.Group != "" {
			c.Mode = 0o660
		}
	}
	if c.Slots == 0 {
		c.Slots = defaultSlots
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Populate == 0 {
		c.Populate = defaultPopulate
	}
	if c.UndoLimit == 0 {
		c.UndoLimit = defaultUndoLimit
	}
	if c.DefaultLifetime == 0 {
		c.DefaultLifetime = format.LifetimeOwned
	}
	if c.Lifetime == 0 {
		c.Lifetime = c.DefaultLifetime
	}
	c.notes = notes.New(c.Logger)
	switch {
	case c.Lifetime < format.LifetimeOwned || c.Lifetime > format.LifetimeKept:
		return nil, badOption("Options.Lifetime %d: must be Owned, Shared or Kept", c.Lifetime)
	case c.Mode&^fs.ModePerm != 0:
		return nil, badOption("Options.Mode %v: only permission bits can be set", c.Mode)
	case c.Mode&0o600 != 0o600:
		return nil, badOption("Options.Mode %v: the owner must be able to read and write", c.Mode)
	case c.Slots < 1 || c.Slots > format.MaxSlots:
		return nil, badOption("Options.Slots %d: must be 1 to %d", c.Slots, format.MaxSlots)
	case c.Reserve < 0:
		return nil, badOption("Options.Reserve %d is negative; use 0 or more", c.Reserve)
	case c.Timeout < 0:
		return nil, badOption("Options.Timeout %v is negative; use 0 for the default, or more",
			c.Timeout)
	case c.Offset < 0:
		return nil, badOption("Options.Offset %d is negative; use 0 or more", c.Offset)
	case c.Offset != 0 && !c.Foreign:
		return nil, badOption("Options.Offset %d is for foreign segments (Options.Foreign)",
			c.Offset)
	}
	return &c, nil
}

func badOption(form string, args ...any) error {
	return fmt.Errorf("%w: "+form, append([]any{errs.BadOption}, args...)...)
}
