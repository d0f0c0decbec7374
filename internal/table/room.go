package table

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/step"
)

// Room says how a table gets a cell for another entry.
type Room struct {
	Evict bool         // remove an entry if there is no room
	Marks bool         // readers record that they have read an entry, see MarkUsed
	Now   func() int64 // the time, in ns since 1970
	// TryLock locks another stripe, if that is possible at once, and repairs it if need be. Unlock
	// unlocks it.
	TryLock func(stripe int) bool
	Unlock  func(stripe int)
}

// A bit of the index of free cells is set if the cell is not free. Of the spare cells that the
// stripes begin with it is set if it is free: so the index is right when all words are zero. Only
// the holder of the stripe that owns a cell, or that has just freed it, changes its bit. A bit may
// say that a cell is free although it is not; the state of the cell decides.

// flip returns the bits of a word of the index that are set if their cell is free.
func (t *Table) flip(w int) uint64 {
	switch first := t.Capacity - 64*w; {
	case first >= 64:
		return 0
	case first <= 0:
		return ^uint64(0)
	default:
		return ^uint64(0) << first
	}
}

// mark sets in the index whether a cell is taken.
func (t *Table) mark(cell int, taken bool) {
	w, bit := &t.marks[cell/64], uint64(1)<<(cell%64)
	if taken != (t.flip(cell/64)&bit != 0) {
		access.Or("mark", w, bit)
	} else {
		access.AndNot("mark", w, bit)
	}
}

// unmarked returns the cells of a word of the index that seem to be free.
func (t *Table) unmarked(w int) uint64 {
	free := ^(access.Load("marks", &t.marks[w]) ^ t.flip(w))
	if rest := t.Cells() - 64*w; rest < 64 {
		free &= 1<<rest - 1
	}
	return free
}

// take takes a free cell for a stripe, whose intent names it then.
func (t *Table) take(stripe int) (int, error) {
	cell, err := t.tryTake(stripe)
	if err == ErrFull && t.heal(stripe) {
		return t.tryTake(stripe)
	}
	return cell, err
}

func (t *Table) tryTake(stripe int) (int, error) {
	removed := access.Load("removed", &t.header.Removed)
	if !t.quiet.isFull(removed) {
		if cell, ok := t.search(stripe); ok {
			return cell, nil
		}
		t.quiet.setFull(removed)
	}
	return t.makeRoom(stripe)
}

// heal repairs the stripes whose holders died in the middle of a change, which may have a cell that
// no entry needs. It reports whether there was one. The caller holds the stripe held.
func (t *Table) heal(held int) (healed bool) {
	for i := range t.stripes {
		if i == held || access.Load("stuck", &t.stripes[i].Intent) == 0 {
			continue
		}
		if t.room.TryLock(i) {
			t.room.Unlock(i)
			healed = true
		}
	}
	return healed
}

// search looks for a free cell by the index.
func (t *Table) search(stripe int) (int, bool) {
	words := len(t.marks)
	start := int(t.last.Load()) % words
	for i := range words {
		w := start + i
		if w >= words {
			w -= words
		}
		for free := t.unmarked(w); free != 0; free &= free - 1 {
			cell := 64*w + bits.TrailingZeros64(free)
			if t.takeCell(stripe, cell) {
				if i > 0 {
					t.last.Store(uint32(w))
				}
				return cell, true
			}
		}
	}
	return 0, false
}

// takeCell takes a cell if it is free.
func (t *Table) takeCell(stripe, cell int) bool {
	state := t.word(cell, cellState)
	was := access.Load("state", state)
	if t.owner(cell, was) != 0 {
		return false
	}
	s := &t.stripes[stripe]
	access.Release("intent", &s.Intent, uint64(newIntent(inserting, cell)))
	step.Reach(step.MapIntent)
	if !access.CAS("take", state, was, uint64(stripe)+1) {
		access.Release("intent", &s.Intent, 0)
		return false
	}
	step.Reach(step.MapTaken)
	t.mark(cell, true)
	return true
}

// makeRoom removes an entry that has expired or, by option, one that was not read lately, and takes
// its cell.
func (t *Table) makeRoom(stripe int) (int, error) {
	timed := access.Load("timed", &t.header.Timed)
	if !t.room.Evict && timed == 0 {
		return 0, ErrFull
	}
	now := t.room.Now()
	if !t.room.Evict && t.quiet.noneExpired(timed, now) {
		return 0, ErrFull
	}
	rounds := 1
	if t.room.Evict {
		rounds = 3 // the first may only clear the marks of reading
	}
	soonest := uint64(1<<63 - 1)
	for range rounds * t.Cells() {
		cell := int((access.Add("hand", &t.header.Hand, 1) - 1) % uint64(t.Cells()))
		owner := t.owner(cell, access.Load("state", t.word(cell, cellState)))
		if owner == 0 {
			if t.takeCell(stripe, cell) {
				return cell, nil
			}
			continue
		}
		e := access.Load("expires", t.word(cell, cellExpires))
		if !expired(e, now) {
			if e != 0 {
				soonest = min(soonest, e)
			}
			if !t.room.Evict || t.clearUsed(cell) {
				continue
			}
		}
		if t.evict(stripe, owner-1, cell, now) && t.takeCell(stripe, cell) {
			return cell, nil
		}
	}
	if !t.room.Evict {
		t.quiet.setNoneExpired(timed, int64(soonest))
	}
	return 0, ErrFull
}

// clearUsed clears the mark of reading of a cell, and reports whether it was set.
func (t *Table) clearUsed(cell int) bool {
	used := t.word(cell, cellUsed)
	if access.Load("used", used) == 0 {
		return false
	}
	access.Release("used", used, 0)
	return true
}

// expired reports whether an entry with that expiry is gone at the time now.
func expired(expires uint64, now int64) bool { return expires != 0 && int64(expires) <= now }

// evict removes the entry of a cell that a stripe seems to own. The caller holds the stripe held.
func (t *Table) evict(held, stripe, cell int, now int64) bool {
	if stripe != held {
		if !t.room.TryLock(stripe) {
			return false
		}
		defer t.room.Unlock(stripe)
		step.Reach(step.MapEvict)
	}
	if t.owner(cell, access.Load("state", t.word(cell, cellState))) != stripe+1 {
		return false
	}
	if spare, err := t.spare(stripe); err != nil || spare == cell {
		return false
	}
	link, err := t.linkTo(stripe, cell)
	if link == nil || err != nil {
		return false
	}
	gone := expired(access.Load("expires", t.word(cell, cellExpires)), now)
	if !gone && !t.room.Evict {
		return false
	}
	t.unlink(stripe, cell, link)
	if !t.room.Evict { // callers that evict find every free cell; others ask the index
		access.Add("removed", &t.header.Removed, 1)
	}
	if gone {
		access.Add("expired", &t.header.Expired, 1)
	} else {
		access.Add("evicted", &t.header.Evicted, 1)
	}
	return true
}

// quiet is what this process knows of searches that found nothing, so that it does not search again
// while nothing has changed.
type quiet struct {
	full atomic.Uint64 // 1 + Removed when the index had no free cell

	mu    sync.Mutex
	timed uint64 // Timed when no entry had expired, guarded by mu
	until int64  // when the next one of those expires, guarded by mu
}

func (q *quiet) isFull(removed uint64) bool { return q.full.Load() == removed+1 }
func (q *quiet) setFull(removed uint64)     { q.full.Store(removed + 1) }
func (q *quiet) noneExpired(timed uint64, now int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.timed == timed && now < q.until
}

func (q *quiet) setNoneExpired(timed uint64, until int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.timed, q.until = timed, until
}
