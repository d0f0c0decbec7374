package segment

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/sys"
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

// stays reports whether the segment stays although no other process is attached. The gate is not
// held: it is a hint. The owner, if it is another one, is dead.
func (c *control) stays(o format.Owner) (bool, error) {
	return c.staysIf(o, func() (bool, error) { n, err := c.unread(1); return n > 0, err })
}

// staysAtGate is stays under the gate, which makes it final. errScan: the caller leaves the gate,
// calls scanRing, and takes the gate again.
func (c *control) staysAtGate(o format.Owner) (bool, error) { return c.staysIf(o, c.unreadAtGate) }

func (c *control) staysIf(o format.Owner, unread func() (bool, error)) (bool, error) {
	if o.State == format.Dropped {
		return false, nil
	}
	switch c.lasting(o) {
	case format.LifetimeKept:
		return true, nil
	case format.LifetimeShared:
		return unread()
	}
	return false, nil
}

// garbage reports whether the value of a segment is lost: it was dropped, or no other process is
// attached and it does not stay. The gate is not held: it is a hint.
func (c *control) garbage(o format.Owner) (bool, error) { return c.garbageIf(o, c.stays) }

// garbageAtGate is garbage under the gate, with staysAtGate.
func (c *control) garbageAtGate(o format.Owner) (bool, error) {
	return c.garbageIf(o, c.staysAtGate)
}

func (c *control) garbageIf(
	o format.Owner, stays func(format.Owner) (bool, error),
) (bool, error) {
	if o.State == format.Dropped {
		return true, nil
	}
	if attached, err := c.othersAttached(); err != nil || attached {
		return false, err
	}
	s, err := stays(o)
	return !s && err == nil, err
}

// errScan is returned under the gate where a ring is too long to be looked through there.
var errScan = errors.New("scan")

// maxScans is how often a ring is looked through without the gate before it is under the gate.
const maxScans = 3

// A ringScan is what was found in a ring without the gate. It counts under the gate if no process
// is attached, and if the generations of the slots are the same: then none was attached since.
type ringScan struct {
	times  int
	alone  bool // no process was attached when it began
	gens   []byte
	unread bool
}

// unreadAtGate reports whether a queue has unread messages. It reads the ring's positions and at
// most 64 KiB of its words.
func (c *control) unreadAtGate() (bool, error) {
	if !c.hasUnread() {
		return false, nil
	}
	some, all, err := c.stored().UnreadSoon(c.readRing)
	if err != nil || some || all {
		return some || err != nil, nil
	}
	s := &c.scanned
	if s.alone {
		gens, err := c.generations()
		if err != nil {
			return false, err
		}
		if bytes.Equal(gens, s.gens) {
			return s.unread, nil
		}
	}
	if s.times >= maxScans {
		n, err := c.unread(1)
		return n > 0, err
	}
	return false, errScan
}

// scanRing looks through the whole ring. The gate is not held. An attachment writes its generation
// before it leaves the gate, and uses the ring afterwards. So one that has come since changes the
// generations, and one that had come before, and has left, has finished with the ring.
func (c *control) scanRing() {
	s := ringScan{times: c.scanned.times + 1}
	gens, err := c.generations()
	if err == nil {
		attached, err := c.othersAttached()
		s.alone, s.gens = !attached && err == nil, gens
	}
	if s.alone {
		n, _ := c.unread(1)
		s.unread = n > 0
	}
	c.scanned = s
}

// scanLong is scanRing for a shared queue that is too long for the gate.
func (c *control) scanLong() {
	if c.hasUnread() && c.stored().Long() {
		c.scanRing()
	}
}

// generations returns the generations of all slots.
func (c *control) generations() ([]byte, error) {
	b := make([]byte, int(c.head.SlotCount)*format.SlotSize)
	if err := c.readSlots(b, 0); err != nil {
		return nil, err
	}
	gens := make([]byte, 0, 4*c.head.SlotCount)
	for ; len(b) > 0; b = b[format.SlotSize:] {
		gens = append(gens, b[format.SlotGen:][:4]...)
	}
	return gens, nil
}

// hasUnread reports whether the segment is a queue.
func (c *control) hasUnread() bool {
	f := c.head.Form
	return c.singleRing() || f == format.FormQueue || f == format.FormBytes
}

// stored returns the ring that the header says.
func (c *control) stored() ring.Stored {
	h := c.head
	return ring.Stored{
		Items: h.Items, Words: h.Words, Step: uint64(h.WordStep), Single: c.singleRing(),
	}
}

func (c *control) singleRing() bool {
	return c.head.Form == format.FormSingle || c.head.Form == format.FormSingleBytes
}

// readRing reads bytes of the payload.
func (c *control) readRing(b []byte, off int64) error {
	n, err := c.file.ReadAt(b, off)
	if err == nil && n < len(b) {
		err = errs.Corrupt
	}
	return err
}

// unread returns how many messages a queue has that the next receiver gets. It counts up to
// limit; 0 is no limit. No process is attached. It is 1 for a queue that cannot be read:
// nothing is thrown away that is not understood.
func (c *control) unread(limit int) (int, error) {
	h := c.head
	if !c.hasUnread() {
		return 0, nil
	}
	var n int
	var err error
	if h.Form == format.FormSingleBytes {
		n, err = ring.UnreadRecords(h.Items, int64(layout.SingleData()), limit, c.readRing)
	} else {
		n, err = c.stored().Unread(limit, c.readRing)
	}
	if err != nil {
		return 1, nil
	}
	return n, nil
}

// A ringForm is what a header says of the ring in the payload.
type ringForm struct {
	form         format.Form
	items, words uint64
	wordStep     uint32
}

// ringOf returns the ring that a type describes; of none there is none.
func ringOf(t *format.Type) (r ringForm) {
	r.form, r.items, r.words, r.wordStep = layout.RingOf(t)
	return r
}

// ringIn returns the ring of a header.
func ringIn(h *format.Header) ringForm {
	return ringForm{h.Form, h.Items, h.Words, h.WordStep}
}

// put writes r to a header.
func (r ringForm) put(h *format.Header) {
	h.Form, h.Items, h.Words, h.WordStep = r.form, r.items, r.words, r.wordStep
}

// checkClaims compares what the request says of the segment itself with what was created. What it
// leaves out is no claim.
func (o *opening) checkClaims(a *Attachment) error {
	c, h := &o.Config, a.head
	differs := func(option string, is, asked any) error {
		return a.mismatch("the segment was created with %s %v, Options.%s asks for %v; "+
			"leave the option out", option, is, option, asked)
	}
	reserve := max(c.Reserve, o.ItemReserve)
	switch {
	case c.Lifetime != 0 && c.Lifetime != h.Lifetime:
		return a.mismatch("the segment was created %v, Options.Lifetime asks for %v; "+
			"leave the option out", h.Lifetime, c.Lifetime)
	case c.Slots != 0 && c.Slots != int(h.SlotCount):
		return differs("Slots", h.SlotCount, c.Slots)
	case o.gid != noGroup && uint32(o.gid) != a.stat.GID:
		return differs("Group", a.stat.GID, c.Group)
	case sys.HasModes && c.Mode != 0 && c.Mode.Perm() != a.stat.Mode.Perm():
		is, want := a.stat.Mode.Perm(), c.Mode.Perm()
		return differs("Mode", fmt.Sprintf("%#o", is), fmt.Sprintf("%#o", want))
	case reserve != 0 && uint64(reserve) != h.Reserve:
		return differs("Reserve", h.Reserve, reserve)
	case c.UndoLimit < 0 && h.ImageOff != 0:
		return a.mismatch("the segment was created with an undo image, Options.Undo asks for " +
			"UndoNever; leave the option out")
	case c.UndoLimit == math.MaxInt && h.ImageOff == 0:
		return a.mismatch("the segment was created without an undo image, Options.Undo asks for " +
			"UndoAlways; leave the option out")
	}
	return nil
}

// foreignClaims is checkClaims for a foreign file, which has no control block.
func (o *opening) foreignClaims(a *Attachment) error {
	c := &o.Config
	none := func(option string, asked any) error {
		return fmt.Errorf("%w: a foreign file has no such thing, Options.%s asks for %v; "+
			"leave the option out", errs.Mismatch, option, asked)
	}
	differs := func(option string, is, asked any) error {
		return fmt.Errorf("%w: the file has %s %v, Options.%s asks for %v; leave the option out",
			errs.Mismatch, option, is, option, asked)
	}
	switch mode := a.stat.Mode.Perm(); {
	case c.Lifetime != 0:
		return none("Lifetime", c.Lifetime)
	case c.Slots != 0:
		return none("Slots", c.Slots)
	case c.Reserve != 0:
		return none("Reserve", c.Reserve)
	case c.UndoLimit == math.MaxInt:
		return none("Undo", "UndoAlways")
	case o.gid != noGroup && uint32(o.gid) != a.stat.GID:
		return differs("Group", a.stat.GID, c.Group)
	case sys.HasModes && c.Mode != 0 && c.Mode.Perm() != mode:
		return differs("Mode", fmt.Sprintf("%#o", mode), fmt.Sprintf("%#o", c.Mode.Perm()))
	}
	return nil
}
