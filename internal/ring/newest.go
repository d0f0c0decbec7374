package ring

import "github.com/shmembox/shmem/internal/access"

// Last returns the position of the n-th newest message; of the oldest position that may still have
// its message, if fewer are kept.
func (r *Broadcast) Last(n uint64) uint64 {
	now := r.Now()
	low := r.oldest(now)
	if n >= r.n {
		return low
	}
	p := now
	for ; p > low && n > 0; n-- {
		for p--; p > low && !r.Valid(p); p-- {
			// skipped, or not published yet
		}
	}
	return p
}

// newestTries bounds the looks of Newest, which publishers may overtake each time.
const newestTries = 64

// Newest finds the newest message from the cursor's position on, and moves the cursor to it. What
// it passes is not lost. The caller goes on as after Next. Errors: ErrEmpty, if there is no
// message; ErrHeld, if there is none and a publisher has not finished one; ErrClosed; ErrBusy, when
// publishers are faster than this loop; ErrCorrupt.
func (c *Cursor) Newest() (pos uint64, err error) {
	r := c.r
	closed := access.Load("newest.closed", &r.h.Closed) != 0
	for range newestTries {
		now := r.Now()
		low := max(c.pos, before(now, r.n))
		p, held, err := r.newest(low, now)
		if err == ErrBusy {
			continue
		}
		if err != nil {
			return 0, err
		}
		if p < now {
			c.pos = p
			return p, nil
		}
		// Nothing comes any more below the lowest position that is being written.
		c.pos = max(c.pos, held)
		switch {
		case held < now:
			return 0, ErrHeld
		case closed:
			return 0, ErrClosed
		}
		return 0, ErrEmpty
	}
	return 0, ErrBusy
}

// newest looks for the newest message from low up to now. It returns now if there is none, and the
// lowest position that is being written, or now. ErrBusy means that publishers overtook it.
func (r *Broadcast) newest(low, now uint64) (pos, held uint64, err error) {
	held = now
	for p := now; p > low; {
		p--
		i, lap := r.at(p)
		w := word(access.Load("newest.look", &r.slots[i]))
		switch d, s := w.ahead(lap), w.state(); {
		case w == plain(ready, lap):
			if r.data == nil || r.data.kept(p) {
				return p, held, nil
			}
			if !r.Valid(p) {
				return 0, 0, ErrBusy
			}
			return now, held, nil // its bytes are gone, and so are those of older ones
		case d == 0 && s == claimed:
			held = p
		case d == 0 && s == skipped:
		case d > 0 && (s == ready || s == skipped || s == claimed):
			return 0, 0, ErrBusy
		default:
			return 0, 0, ErrCorrupt
		}
	}
	return now, held, nil
}

// CanNewest reports whether Newest of a cursor at pos would return neither ErrEmpty nor ErrHeld.
func (r *Broadcast) CanNewest(pos uint64) bool {
	closed := r.h.Closed.Load() != 0
	now := r.Now()
	p, held, err := r.newest(max(pos, before(now, r.n)), now)
	return err != nil || p < now || closed && held == now
}
