package table

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/step"
)

// A Slot is where a key has or would have its entry. It counts while the lock is held, until the
// next change of the stripe.
type Slot struct {
	hash uint64
	link *atomic.Uint64
	// Cell has the entry. It is -1 if there is none.
	Cell int
	// Expires is when it expires.
	Expires int64
	// Found is false also if the entry has expired.
	Found bool
}

// Lookup finds the key. The caller holds the stripe.
func (t *Table) Lookup(hash uint64, key []uint64) (Slot, error) {
	link, cell, err := t.find(hash, key)
	s := Slot{hash: hash, link: link, Cell: cell}
	if err != nil || cell < 0 {
		return s, err
	}
	s.Expires = int64(access.Load("expires", t.word(cell, cellExpires)))
	s.Found = s.Expires == 0 || s.Expires > t.room.Now()
	return s, nil
}

// A Change is an entry that is being stored.
type Change struct {
	// Cell is where the caller writes the value before it calls Commit.
	Cell    int
	named   int // the cell of the intent
	slot    Slot
	expires int64
}

// Begin begins to store an entry at the slot of a key, and writes all of it but the value. The next
// call is Commit.
func (t *Table) Begin(at Slot, key []uint64, expires int64) (c Change, err error) {
	stripe := t.StripeOf(at.hash)
	c = Change{slot: at, expires: expires, named: at.Cell}
	if c.Cell, err = t.spare(stripe); err != nil {
		return c, err
	}
	if at.Cell >= 0 {
		access.Release("intent", &t.stripes[stripe].Intent, uint64(newIntent(replacing, at.Cell)))
		step.Reach(step.MapIntent)
	} else {
		if c.named, err = t.take(stripe); err != nil {
			return c, err
		}
		c.slot.link = t.bucket(at.hash) // an eviction may have removed the cell with the link
	}
	t.fill(stripe, &c, key)
	return c, nil
}

// fill writes an entry, except its value, into a cell that no chain contains.
func (t *Table) fill(stripe int, c *Change, key []uint64) {
	var next, used uint64
	if c.slot.Cell >= 0 {
		next, used = access.Load("next", t.word(c.slot.Cell, cellNext)), 1
	} else {
		next = access.Load("link", c.slot.link)
	}
	// Not a plain store: no reader sees a word of the new entry with the old generation.
	access.Add("gen", t.word(c.Cell, cellGen), 1)
	access.Release("fill state", t.word(c.Cell, cellState), uint64(stripe)+1)
	access.Release("fill hash", t.word(c.Cell, cellHash), c.slot.hash)
	access.Release("fill next", t.word(c.Cell, cellNext), next)
	access.Release("fill expires", t.word(c.Cell, cellExpires), uint64(c.expires))
	access.Release("fill used", t.word(c.Cell, cellUsed), used)
	for i, w := range key {
		access.Release("fill key", t.word(c.Cell, CellWords+i), w)
	}
}

// Commit makes the entry count, whose value the caller has written.
func (t *Table) Commit(c *Change) {
	stripe := t.StripeOf(c.slot.hash)
	s := &t.stripes[stripe]
	step.Reach(step.MapFilled)
	access.Release("commit", c.slot.link, uint64(c.Cell)+1)
	step.Reach(step.MapLinked)
	t.setVersion(s)
	if c.expires != 0 {
		access.Add("timed", &t.header.Timed, 1)
	}
	access.Release("spare", &s.Spare, uint64(c.named)+1)
	step.Reach(step.MapSpare)
	if c.slot.Cell < 0 {
		access.Release("count", &s.Count, access.Load("count", &s.Count)+1)
	}
	t.done(s)
}

// done ends the change of a stripe.
func (t *Table) done(s *Stripe) {
	access.Release("done", &s.Intent, 0)
	step.Reach(step.MapDone)
}

// Remove removes the entry at a slot, if there is one.
func (t *Table) Remove(at Slot) {
	if at.Cell >= 0 {
		t.unlink(t.StripeOf(at.hash), at.Cell, at.link)
		access.Add("removed", &t.header.Removed, 1)
	}
}

// unlink removes a cell, to which the link leads, from its chain, and frees it. The caller counts
// it as removed, unless it takes the cell itself.
func (t *Table) unlink(stripe, cell int, link *atomic.Uint64) {
	s := &t.stripes[stripe]
	access.Release("intent", &s.Intent, uint64(newIntent(removing, cell)))
	step.Reach(step.MapIntent)
	access.Release("commit", link, access.Load("next", t.word(cell, cellNext)))
	step.Reach(step.MapLinked)
	t.setVersion(s)
	t.free(cell)
	access.Release("count", &s.Count, access.Load("count", &s.Count)-1)
	t.done(s)
}

// free frees a cell that the caller's stripe owns and no chain contains.
func (t *Table) free(cell int) {
	access.Release("free", t.word(cell, cellState), freed)
	step.Reach(step.MapFreed)
	t.mark(cell, false)
}

// Repair ends the change of a holder that died: the change is undone, or what is left of it is
// done. The caller holds the lock.
func (t *Table) Repair(stripe int) error {
	s := &t.stripes[stripe]
	i := intent(access.Load("intent", &s.Intent))
	if cell, ok := t.cellOf(i); ok {
		var err error
		if i.kind() == removing {
			err = t.repairRemoval(stripe, cell)
		} else {
			err = t.repairPut(stripe, cell, i.kind())
		}
		if err != nil {
			return err
		}
	}
	if err := t.recount(stripe); err != nil {
		return err
	}
	access.Release("done", &s.Intent, 0)
	access.Add("removed", &t.header.Removed, 1)
	access.Add("repairs", &t.header.Repairs, 1)
	step.Reach(step.MapRepair)
	return nil
}

// repairRemoval frees a cell that is out of its chain. If the cell is in it, nothing was changed.
func (t *Table) repairRemoval(stripe, cell int) error {
	state := access.Load("state", t.word(cell, cellState))
	switch t.owner(cell, state) {
	case stripe + 1:
		link, err := t.linkTo(stripe, cell)
		if link != nil || err != nil {
			return err
		}
		t.setVersion(&t.stripes[stripe])
		t.free(cell)
	case 0: // it is free, and may not be in the index
		t.mark(cell, false)
	}
	return nil
}

// cellOf returns the cell that an intent names, if it is one.
func (t *Table) cellOf(i intent) (cell int, ok bool) {
	return int(i.cell()), i.kind() != 0 && uint64(i.cell()) < t.cells
}

// repairPut ends the storing of an entry, whose intent names the cell.
func (t *Table) repairPut(stripe, cell int, kind uint64) error {
	s := &t.stripes[stripe]
	c, err := t.spare(stripe)
	if err != nil || c == cell { // the spare cell was exchanged already
		return err
	}
	link, err := t.linkTo(stripe, c)
	if err != nil {
		return err
	}
	if link != nil { // it counts
		t.setVersion(s)
		access.Add("timed", &t.header.Timed, 1)
		access.Release("spare", &s.Spare, uint64(cell)+1)
		if kind == inserting {
			t.mark(cell, true)
		}
		return nil
	}
	if kind != inserting {
		return nil
	}
	switch t.owner(cell, access.Load("state", t.word(cell, cellState))) {
	case stripe + 1:
		// The index may have been wrong about the cell: then it is in its chain.
		if link, err := t.linkTo(stripe, cell); link != nil || err != nil {
			return err
		}
		t.free(cell)
	case 0: // a repair was interrupted
		t.mark(cell, false)
	}
	return nil
}

// recount counts the entries of a stripe.
func (t *Table) recount(stripe int) error {
	n := 0
	for b := stripe; b < t.Buckets; b += t.Stripes {
		cells, err := t.chain(b)
		if err != nil {
			return err
		}
		n += len(cells)
	}
	access.Release("count", &t.stripes[stripe].Count, uint64(n))
	return nil
}
