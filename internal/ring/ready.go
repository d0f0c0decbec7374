package ring

// These tell by loads alone whether a call that found nothing would find
// something now: they are for who waits. They may say yes for no reason.

// CanClaim reports whether Claim would not return ErrFull.
func (r *MPMC) CanClaim() bool {
	if r.h.Closed.Load() != 0 {
		return true
	}
	i, lap := r.at(r.h.Tail.Load())
	w := word(r.slots[i].Load())
	return w.ahead(lap) != -1 || w.state() == free || w.state() == end
}

// CanTake reports whether Take would return neither ErrEmpty nor ErrHeld to
// self.
func (r *MPMC) CanTake(self uint32) bool {
	if r.h.Suspects.Load()&1 != 0 {
		return true
	}
	i, lap := r.at(r.h.Head.Load())
	w := word(r.slots[i].Load())
	switch d := w.ahead(lap); {
	case w == plain(free, lap):
		return r.h.Closed.Load() != 0
	case w == plain(end, lap):
		return r.ended(self) == ErrClosed
	case d == 0 && w.state() == claimed, d == -1 && w.state() == taken:
		return false
	}
	return true
}

// Holders appends up to n holders of leases on the positions before the head.
func (r *MPMC) Holders(ids []uint32, n int) []uint32 {
	h := r.h.Head.Load()
	for p := before(h, min(r.n, 64)); p < h && n > 0; p++ {
		i, lap := r.at(p)
		if w := word(r.slots[i].Load()); w.state() == taken && w.ahead(lap) == 0 && w.id() != 0 {
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
	for ; l < t; l++ {
		i, lap := r.q.at(l)
		if word(r.q.slots[i].Load()).ahead(lap) <= 0 {
			break
		}
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

// CanTake is that of MPMC.
func (r *MPMCBytes) CanTake(self uint32) bool { return r.q.CanTake(self) }

// Holders is that of MPMC.
func (r *MPMCBytes) Holders(ids []uint32, n int) []uint32 { return r.q.Holders(ids, n) }
