package kv

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/table"
	"github.com/shmembox/shmem/internal/wait"
)

// core is a map of keys and values that are words and bytes.
type core struct {
	stream.Attachment
	layout  *layout.Map
	t       *table.Table
	header  *table.Header
	stripes []table.Stripe
	cellsAt int // where the cells are in the payload
	object  robust.Object
	marks   bool // reads are marked
}

// bind lays c over the mapping of a segment.
func (c *core) bind(seg *shmem.Segment, m *mem.Mapping, l *layout.Map) error {
	c.Init(seg, m)
	c.layout, c.cellsAt = l, l.CellsAt
	c.object = robust.Object{M: m, Me: format.ID(c.Self)}
	c.marks = l.Evicting && c.Writes
	shape, p, err := stream.MapParts(m, l)
	if err != nil {
		return err
	}
	c.header, c.stripes = p.Header, p.Stripes
	c.t, err = table.New(shape, p, table.Room{
		Evict: l.Evicting, Marks: c.marks, Now: now, TryLock: c.tryLock, Unlock: c.unlockOther,
	})
	return err
}

// now is the time by which entries expire. Tests replace it.
var now = func() int64 { return time.Now().UnixNano() }

// expiry returns when an entry expires that is stored now. A ttl of 0 means never.
func expiry(ttl time.Duration) (int64, error) {
	if ttl < 0 {
		return 0, errTTL
	}
	if ttl == 0 {
		return 0, nil
	}
	return max(now()+int64(ttl), 0), nil // beyond the year 2262: never
}

var (
	errTTL = &errs.Worded{
		Text:     "bad option: the time to live is negative; use 0 for an entry that never expires",
		Sentinel: shmem.ErrBadOption,
	}
	errFull = &errs.Worded{
		Text:     "the map is full; create it with more Options.Capacity, or with Options.Evict",
		Sentinel: ErrFull,
	}
	errClosed = errs.NamedClosed("map")
)

// fail returns the error of an operation.
func (c *core) fail(op string, err error) error {
	switch err {
	case nil:
		return nil
	case table.ErrFull:
		err = errFull
	case table.ErrBusy:
		err = shmem.ErrContended
	case table.ErrCorrupt:
		err = stream.Corrupt(err)
	case shmem.ErrClosed:
		err = errClosed
	}
	return &shmem.Error{Op: "map " + op, Name: c.Segment.Name(), Err: err}
}

// get copies the value of a key to dst. The cell of the entry is -1 if there is none. It does
// not pin the mapping, where it need not: that takes two locked instructions, between which the
// processor cannot begin the next call while this one waits for memory.
func (c *core) get(key []uint64, dst []byte) (table.Entry, error) {
	if mem.PinReads {
		if !c.M.Pin() {
			return table.Entry{Cell: -1}, shmem.ErrClosed
		}
		defer c.M.Unpin()
	}
	e, err := c.find(table.Hash(c.t.Seed(0), key), key, dst)
	if c.M.Closed() {
		return table.Entry{Cell: -1}, shmem.ErrClosed
	}
	return e, err
}

// find is get of an entry that is not so easily found. The memory may be closed meanwhile.
func (c *core) find(hash uint64, key []uint64, dst []byte) (table.Entry, error) {
	for range mostTries {
		e, err := c.t.Find(hash, key)
		if err != nil || e.Cell < 0 {
			return table.Entry{Cell: -1}, err
		}
		c.M.Load(dst, c.valueAt(e.Cell))
		if !c.t.Valid(e) {
			continue
		}
		if e.Expires != 0 && c.t.Expired(e) {
			return table.Entry{Cell: -1}, nil
		}
		if c.marks && !c.t.Used(e) && c.M.Pin() {
			c.t.MarkUsed(e)
			c.M.Unpin()
		}
		return e, nil
	}
	return table.Entry{Cell: -1}, table.ErrBusy
}

// mostTries bounds the tries to copy a value. Each further one means that the value was replaced
// twice meanwhile.
const mostTries = 1 << 12

// valueAt returns where the value of a cell is in the payload.
func (c *core) valueAt(cell int) int { return c.cellsAt + c.t.ValueAt(cell) }

// readBucket calls load with each entry of a bucket, and then keep, if what load has copied is
// whole and has not expired. If an entry was changed meanwhile it calls reset, and begins anew.
func (c *core) readBucket(bucket int, reset func(), load, keep func(table.Entry)) error {
	if !c.M.Pin() {
		return shmem.ErrClosed
	}
	defer c.M.Unpin()
	var room [8]table.Entry
	for range mostTries {
		found, err := c.t.Bucket(bucket, room[:0])
		if err != nil {
			return err
		}
		reset()
		whole := true
		for _, e := range found {
			load(e)
			if whole = c.t.Valid(e); !whole {
				break
			}
			if !c.t.Expired(e) {
				keep(e)
			}
		}
		if whole {
			return nil
		}
	}
	return table.ErrBusy
}

// held is a stripe that a call has locked, and the slot of its key.
type held struct {
	stripe  int
	slot    table.Slot
	changed bool
}

// begin locks the stripe of a key. After nil, end unlocks it.
func (c *core) begin(ctx context.Context, key []uint64) (h held, err error) {
	if err := c.Enter(); err != nil {
		return h, err
	}
	hash := table.Hash(c.seed(), key)
	h.stripe = c.t.StripeOf(hash)
	if err = c.lock(ctx, h.stripe); err != nil {
		c.M.Unpin()
		return h, err
	}
	if h.slot, err = c.t.Lookup(hash, key); err != nil {
		c.end(&h)
	}
	return h, err
}

// seed returns the seed of the hash. The first change of a map chooses it.
func (c *core) seed() uint64 {
	if s := c.t.Seed(0); s != 0 {
		return s
	}
	return c.t.Seed(rand.Uint64() | 1)
}

func (c *core) end(h *held) {
	s := &c.stripes[h.stripe]
	_ = robust.Release(c.object, &s.Lock, &s.LockArmed)
	if h.changed {
		c.wake(h.stripe)
	}
	c.M.Unpin()
}

// wake wakes the calls that wait for a change.
func (c *core) wake(stripe int) {
	wait.Wake(c.M, &c.stripes[stripe].Armed)
	wait.Wake(c.M, &c.header.Armed)
}

// lock locks a stripe, and repairs it if its holder has died.
func (c *core) lock(ctx context.Context, stripe int) error {
	s := &c.stripes[stripe]
	died, err := robust.Acquire(ctx, c.object, &s.Lock, &s.LockArmed, robust.TakeOver)
	if err == nil && died {
		err = c.repair(stripe)
	}
	return err
}

// repair repairs a stripe that was taken over. After an error the next holder is to repair it.
func (c *core) repair(stripe int) error {
	if err := c.t.Repair(stripe); err != nil {
		s := &c.stripes[stripe]
		_ = robust.MarkDead(c.object, &s.Lock, &s.LockArmed)
		return err
	}
	c.wake(stripe)
	c.M.Note(notes.Recovered, "map", 1, format.NoID)
	return nil
}

// tryLock is lock for a call that has a stripe already: it does not wait.
func (c *core) tryLock(stripe int) bool {
	s := &c.stripes[stripe]
	died, err := robust.TryAcquire(c.object, &s.Lock, &s.LockArmed, robust.TakeOver)
	return err == nil && (!died || c.repair(stripe) == nil)
}

func (c *core) unlockOther(stripe int) {
	s := &c.stripes[stripe]
	_ = robust.Release(c.object, &s.Lock, &s.LockArmed)
	c.wake(stripe)
}

// put stores a value in the place of the key.
func (c *core) put(h *held, key []uint64, value []byte, expires int64) error {
	change, err := c.t.Begin(h.slot, key, expires)
	if err != nil {
		return err
	}
	c.M.StoreCell(c.valueAt(change.Cell), value, 8*c.t.ValueWords())
	c.t.Commit(&change)
	h.changed = true
	return nil
}

// load copies the value of the key, which is found.
func (c *core) load(h *held, dst []byte) { c.M.Load(dst, c.valueAt(h.slot.Cell)) }

// remove removes the entry of the key, if there is one.
func (c *core) remove(h *held) {
	if h.slot.Cell >= 0 {
		c.t.Remove(h.slot)
		h.changed = true
	}
}

// mend repairs a stripe if its holder has died in the middle of a change, and reports whether it
// has looked.
func (c *core) mend(stripe int) bool {
	if !c.Writes || !c.t.Stuck(stripe) || !c.tryLock(stripe) {
		return false
	}
	c.unlockOther(stripe)
	return true
}
