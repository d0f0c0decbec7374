package ring

import "github.com/shmembox/shmem/internal/access"

// The functions of this file are for waiters: they use only loads, and report whether a call that
// found nothing is worth another try. They may report true without a reason.

// CanClaim reports whether Claim would not return ErrFull.
func (r *MPMC) CanClaim() bool {
	if r.h.Closed.Load() != 0 {
		return true
	}
	i, lap := r.at(r.h.Tail.Load())
	w := word(r.slot(i).Load())
	return w.ahead(lap) != -1 || w.state() == free || w.state() == end
}

// CanTake reports whether Take would return neither ErrEmpty nor ErrHeld.
func (r *MPMC) CanTake() bool {
	if r.h.Suspects.Load()&1 != 0 {
		return true
	}
	i, lap := r.at(r.h.Head.Load())
	w := word(r.slot(i).Load())
	switch d := w.ahead(lap); {
	case w == plain(free, lap):
		return r.h.Closed.Load() != 0
	case w == plain(end, lap):
		return r.ended() == ErrClosed
	case d == 0 && w.state() == claimed, d == -1 && w.leased():
		return false
	}
	return true
}

// Holders appends up to n ids that have leases on the positions before the head.
func (r *MPMC) Holders(ids []uint32, n int) []uint32 {
	h := r.h.Head.Load()
	for p := before(h, min(r.n, 64)); p < h && n > 0; p++ {
		i, lap := r.at(p)
		if w := word(r.slot(i).Load()); w.leased() && w.ahead(lap) == 0 && w.id() != 0 {
			if len(ids) == 0 || ids[len(ids)-1] != w.id() {
				ids = append(ids, w.id())
				n--
			}
		}
	}
	return ids
}

// CanClaim reports whether Claim of n bytes would not return ErrFull.
func (r *MPMCBytes) CanClaim(n int) bool {
	if r.h.Closed.Load() != 0 {
		return true
	}
	if !r.q.CanClaim() {
		return false
	}
	t := r.h.Tail.Load()
	l := r.h.Low.Load()
	if l > t || t-l > r.q.n {
		return true // ErrCorrupt
	}
	// Low may be behind. No waiter looks twice at what was passed.
	if p := r.passed.Load(); l < p && p <= t {
		l = p
	}
	for ; l < t; l++ {
		i, lap := r.q.at(l)
		if word(r.q.slot(i).Load()).ahead(lap) <= 0 {
			break
		}
	}
	if l > r.passed.Load() {
		r.passed.Store(l)
	}
	if l == t {
		return true
	}
	i, _ := r.q.at(t - 1)
	stop, size, err := r.extent(i)
	if err != nil {
		return true
	}
	stop += round8(size)
	i, _ = r.q.at(l)
	first, _, err := r.extent(i)
	if err != nil || first > stop || stop-first > r.size {
		return true
	}
	start := stop
	if off := stop % r.size; off+uint64(n) > r.size {
		start += r.size - off
	}
	return start+round8(uint64(n))-first <= r.size
}

// CanTake is CanTake of MPMC.
func (r *MPMCBytes) CanTake() bool { return r.q.CanTake() }

// Holders is Holders of MPMC.
func (r *MPMCBytes) Holders(ids []uint32, n int) []uint32 { return r.q.Holders(ids, n) }

// Sweep frees skipped positions at the head, as Take does, and reports whether there were any. So
// claims that were given up do not fill the ring while no consumer takes.
func (r *MPMC) Sweep() (swept bool) {
	for range r.tries() {
		h := access.Load("take.head", &r.h.Head)
		i, lap := r.at(h)
		w := word(access.Load("take.look", r.slot(i)))
		switch d := w.ahead(lap); {
		case d == 0 && w.state() == skipped:
			if access.CAS("take.skip", r.slot(i), uint64(w), uint64(plain(free, lap+1))) {
				swept = true
			}
		case d == 0 && w.leased(), d == 1:
			if access.Load("take.check", &r.h.Tail) <= h {
				return swept
			}
			advance("take.help", &r.h.Head, h, h+1)
		default:
			return swept
		}
	}
	return swept
}

// Sweep is Sweep of MPMC.
func (r *MPMCBytes) Sweep() bool { return r.q.Sweep() }

// CanClaim reports whether Claim of a publisher would return neither ErrFull nor ErrHeld.
func (r *Broadcast) CanClaim() bool { return r.canClaim(1) }

// CanClaimMany is CanClaim for a publisher that waits for holds: they leave room for half of
// the ring. A publisher that went on for each position would sleep and wake up for each of them.
func (r *Broadcast) CanClaimMany() bool { return r.canClaim(max(r.n/2, 1)) }

// canClaim is CanClaim where holds leave room for that many positions.
func (r *Broadcast) canClaim(many uint64) bool {
	if r.h.Closed.Load() != 0 {
		return true
	}
	t := r.h.Tail.Load()
	if len(r.holds) > 0 && r.full(t+many-1) {
		return false
	}
	i, lap := r.at(t)
	w := word(r.slots[i].Load())
	return w.ahead(lap) != -1 || w.state() != claimed
}

// CanNext reports whether Next at pos would return neither ErrEmpty nor ErrHeld.
func (r *Broadcast) CanNext(pos uint64) bool {
	i, lap := r.at(pos)
	w := word(r.slots[i].Load())
	switch d, s := w.ahead(lap), w.state(); {
	case d == 0 && s == claimed:
		return false
	case w == 0 && lap == 0, d == -1 && (s == ready || s == skipped || s == claimed):
		return r.h.Closed.Load() != 0
	}
	return true
}

// Holder returns the publisher that has claimed a position, 0 if there is none.
func (r *Broadcast) Holder(pos uint64) uint32 {
	i, lap := r.at(pos)
	if w := word(r.slots[i].Load()); w.state() == claimed && w.ahead(lap) == 0 {
		return w.id()
	}
	return 0
}

// MaxHolds returns how many readers can hold publishers back.
func (r *Broadcast) MaxHolds() int { return len(r.holds) }

// Holds returns how many readers hold publishers back.
func (r *Broadcast) Holds() (n int) {
	for i := range r.used() {
		if id := r.holds[i].ID.Load(); id != 0 && id&cursorUnset == 0 { // as in Slowest
			n++
		}
	}
	return n
}
