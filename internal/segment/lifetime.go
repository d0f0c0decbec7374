package segment

import (
	"fmt"
	"math"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/ring"
)

// What becomes of a segment is decided under the gate, by the owner word, the lifetime that the
// segment was created as, and by whether an attachment is left:
//
//	owner word            without an attachment    the last one to leave
//	dropped               garbage                  unlinks
//	kept                  idle                     leaves it
//	shared, unread        idle                     leaves it
//	shared                garbage                  cleans up
//	owned, owner dead     as it was created; if that was owned: garbage; the last one cleans up
//
// Unread is a queue that has messages. A dead owner counts for nothing: the segment is again
// what it was created as.

// lasting returns the lifetime of a segment whose owner, if there was one, is dead. Owned is an
// orphan then.
func (c *control) lasting(o format.Owner) format.Lifetime {
	switch o.State {
	case format.Kept:
		return format.LifetimeKept
	case format.Shared:
		return format.LifetimeShared
	}
	return c.head.Lifetime
}

// stays reports whether the segment stays although no other process is attached. The gate is held,
// or it is a hint. The owner, if it is another one, is dead.
func (c *control) stays(o format.Owner) (bool, error) {
	if o.State == format.Dropped {
		return false, nil
	}
	switch c.lasting(o) {
	case format.LifetimeKept:
		return true, nil
	case format.LifetimeShared:
		n, err := c.unread(1)
		return n > 0, err
	}
	return false, nil
}

// garbage reports whether the value of a segment is lost: it was dropped, or no other process is
// attached and it does not stay. The gate is held, or it is a hint.
func (c *control) garbage(o format.Owner) (bool, error) {
	if o.State == format.Dropped {
		return true, nil
	}
	if attached, err := c.othersAttached(); err != nil || attached {
		return false, err
	}
	stays, err := c.stays(o)
	return !stays, err
}

// unread returns how many messages a queue has that the next receiver gets. It counts up to
// limit; 0 is no limit. No process is attached. It is 1 for a queue that cannot be read:
// nothing is thrown away that is not understood.
func (c *control) unread(limit int) (int, error) {
	h := c.head
	single := h.Form == format.FormSingle || h.Form == format.FormSingleBytes
	if !single && h.Form != format.FormQueue && h.Form != format.FormBytes {
		return 0, nil
	}
	n, err := ring.Unread(h.Items, int64(h.Words), single, limit, func(b []byte, off int64) error {
		n, err := c.file.ReadAt(b, off)
		if err == nil && n < len(b) {
			err = errs.Corrupt
		}
		return err
	})
	if err != nil {
		return 1, nil
	}
	return n, nil
}

// checkClaims compares what the request says of the segment itself with what was created. What it
// leaves out is no claim.
func (o *opening) checkClaims(a *Attachment) error {
	c, h := &o.Config, a.head
	differs := func(option string, is, asked any) error {
		return a.mismatch("the segment was created with %s %v, Options.%s asks for %v; "+
			"leave the option out, or remove the segment", option, is, option, asked)
	}
	reserve := max(c.Reserve, o.ItemReserve)
	switch {
	case c.Lifetime != 0 && c.Lifetime != h.Lifetime:
		return a.mismatch("the segment was created %v, Options.Lifetime asks for %v; "+
			"leave the option out, or remove the segment", h.Lifetime, c.Lifetime)
	case c.Slots != 0 && c.Slots != int(h.SlotCount):
		return differs("Slots", h.SlotCount, c.Slots)
	case c.Mode != 0 && c.Mode.Perm() != a.stat.Mode.Perm():
		is, want := a.stat.Mode.Perm(), c.Mode.Perm()
		return differs("Mode", fmt.Sprintf("%#o", is), fmt.Sprintf("%#o", want))
	case reserve != 0 && uint64(reserve) != h.Reserve:
		return differs("Reserve", h.Reserve, reserve)
	case c.UndoLimit < 0 && h.ImageOff != 0:
		return a.mismatch("the segment was created with an undo image, Options.Undo asks for " +
			"UndoNever; leave the option out, or remove the segment")
	case c.UndoLimit == math.MaxInt && h.ImageOff == 0:
		return a.mismatch("the segment was created without an undo image, Options.Undo asks for " +
			"UndoAlways; leave the option out, or remove the segment")
	}
	return nil
}
