package shmem

import (
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/segment"
)

// Options say how a segment is created or attached to. A nil *Options, and the zero value of each
// field, is the default. Fields that describe the segment itself count when it is created. Where it
// exists, a Lifetime, Mode, Group, Slots, Reserve or Undo that is set must be what its creator
// chose, or the error is ErrMismatch; zero is no claim.
type Options struct {
	// Dir is the directory of the segments, on a tmpfs. Default: /dev/shm, which shm_open of C uses
	// too. A relative path counts from the directory of the program when the segment is opened.
	Dir string
	// Disk accepts a Dir that is on a disk, to which the kernel writes every change of the memory.
	// Without it such a Dir is ErrBadOption.
	Disk bool
	// Timeout is how long to wait for another process that is creating, attaching to or closing the
	// segment, before ErrBusy. Default: 5 s. It cannot be negative.
	Timeout time.Duration

	// Mode is the permission bits of the file, whatever the umask is. Default: 0600, or 0660 with
	// Group. Where the segment exists, a Mode that is set must be the one it has.
	Mode fs.FileMode
	// Group shares the segment with a group, by its name in /etc/group or its number: the file gets
	// that group, and a segment of the group is accepted whichever user created it. All members
	// can do with the segment what they like. Where the segment exists, a Group that is set must
	// be its group. In a directory with the sticky bit, such as /dev/shm, only the user that
	// created the segment can remove its name. Default: none.
	Group string
	// Slots is how many attachments there can be at a time, 1 to 1024. Default: 256. Where the
	// segment exists, Slots that are set must be those it was created with.
	Slots int
	// Lifetime says when the segment ends. Default: Owned when it is created; where the segment
	// exists, a Lifetime that is set must be the one it was created with.
	Lifetime Lifetime
	// Reserve is spare room behind the value, in bytes, for fields that later versions of the type
	// append. Default: none. Where the segment exists, a Reserve that is set must be the one it was
	// created with.
	Reserve int
	// Undo says whether the segment has room for an undo image, a second copy of the value. Update
	// and Store need it to undo what a dying process has changed. Default: up to a value of 1 MiB.
	// Where the segment exists, UndoAlways and UndoNever must be what it was created with.
	Undo Undo

	// Passive attaches without a part in the segment's life, as programs do that look, mirror or
	// export: it keeps nothing alive, is never the last one to leave, cleans up nothing and cannot
	// own. To all other processes the segment is as if this attachment was not there, except for a
	// slot: once no other is attached, one that is owned is garbage. Then an Open of its name makes
	// a new one, which Unlinked tells. Reading, waiting, locks and leases work as in any other
	// attachment, and its death is noticed like any other. Open with Passive never creates. What it
	// sends to a queue while the last of the others leaves can go with the queue. Default: no.
	Passive bool
	// ReadOnly maps the value so that it cannot be changed. Where the permissions of the file allow
	// only reading, there is no other way to attach.
	ReadOnly bool
	// Append appends the last fields of T to a segment whose type does not have them, if there is
	// room (see Reserve) and the creator set Reserve or Append. It also accepts a segment whose
	// type has more fields, behind those of T; one whose creator set Reserve or Append needs no
	// Append for that.
	Append bool
	// AnyUser accepts a segment that another user created. That user can do with it what it likes.
	// In FromFile it also accepts a file without a name that is not sealed: its maker can truncate
	// it.
	AnyUser bool
	// Foreign attaches to a file that has no control block: one that another program made. The
	// name may be a path, such as /proc/PID/fd/N. The file is never unlinked or locked, and
	// changes only by what is written to the value. Open attaches too, and never creates; Create
	// returns an error.
	//
	// Nothing in such a file says how it is laid out. T must declare all padding between its
	// fields, as _ [4]byte, or the error is ErrBadType: in a packed struct of the other program
	// the fields are elsewhere. See also Checker.
	Foreign bool
	// Offset is where the value begins in a foreign file, in bytes. Default: 0.
	Offset int64

	// Populate is how large the value may be, in bytes, for its pages to be made present when it is
	// opened, so that the first use of a page costs no page fault. Default: 64 MiB. Negative: none.
	Populate int
	// HugePages makes the pages huge, which speeds up random access to values of many MiB: an
	// access seldom misses the TLB. It makes all pages present. The kernel (6.1 and later) decides
	// whether there are any, whatever the mount says; without them all works as before.
	// Segment.HugePages says what was got. Default: pages as the mount has them.
	HugePages bool

	// Logger gets a record of what this attachment does after the death of another one, and of
	// messages that it loses:
	//
	//   - "shmem: recovered": a value, lock, map or hold is usable again (Info)
	//   - "shmem: reclaimed": garbage was removed, to create a segment (Info)
	//   - "shmem: redelivered": messages of a receiver that died, or was late (Warn)
	//   - "shmem: skipped": messages that were not sent because the sender died (Warn)
	//   - "shmem: lost": messages were overwritten before they were received (Warn)
	//   - "shmem: owner died": the holder of a lock, or the owner of a segment, is dead (Warn)
	//
	// The attributes are segment (its name), what ("value", "message"), count and, where it is
	// known, pid, the process that died in its own PID namespace.
	//
	// A goroutine calls the logger, so no call and no other process waits for it. While the logger
	// is busy, records of one message and thing become one. A process that ends may end before its
	// last record is logged. Default: none.
	Logger *slog.Logger
}

// A Lifetime says when a segment ends: when its name is removed and its value is dropped.
type Lifetime int

const (
	// Owned is the lifetime of a segment that ends when its owner closes it, even if other
	// processes are attached. The owner is its creator, or the attachment that called Own last.
	// If the owner dies the last attachment to leave cleans up. It is the default of boxes and
	// of segments.
	Owned Lifetime = iota + 1
	// Shared is the lifetime of a segment that no process owns: it ends when the last
	// attachment leaves. It is the default of queues and topics. A queue with unread messages
	// does not end: the next Open finds them.
	Shared
	// Kept is the lifetime of a segment that ends by Remove, or when a process calls Own and then
	// Close.
	Kept
)

// String returns the lifetime in a word.
func (l Lifetime) String() string { return format.Lifetime(l).String() }

// Undo says whether a segment has room for an undo image.
type Undo int

// Values of Options.Undo.
const (
	UndoAuto   Undo = iota // for values of up to 1 MiB
	UndoAlways             // for values of any size
	UndoNever              // never
)

// config converts the options to those of the internal layer, which fills in the defaults.
func (o *Options) config() (segment.Config, error) {
	if o == nil {
		return segment.Config{}, nil
	}
	c := segment.Config{
		Dir: o.Dir, Disk: o.Disk, Timeout: o.Timeout,
		Mode: o.Mode, Group: o.Group, Slots: o.Slots, Lifetime: format.Lifetime(o.Lifetime),
		Reserve:  o.Reserve,
		Passive:  o.Passive,
		ReadOnly: o.ReadOnly, Append: o.Append, AnyUser: o.AnyUser,
		Foreign: o.Foreign, Offset: o.Offset,
		Populate: o.Populate, HugePages: o.HugePages, Logger: o.Logger,
	}
	switch o.Undo {
	case UndoAuto:
	case UndoAlways:
		c.UndoLimit = math.MaxInt
	case UndoNever:
		c.UndoLimit = -1
	default:
		return c, fmt.Errorf("%w: Options.Undo %d is none of its values; "+
			"use UndoAuto, UndoAlways or UndoNever", errs.BadOption, o.Undo)
	}
	return c, nil
}
