package ring

import "sync/atomic"

// A leaser is what an MPMC and an MPMCBytes have in common.
type leaser interface {
	Take(self uint32) (pos uint64, err error)
	Retake(self uint32, now int64) (pos uint64, deliveries int, ok bool)
}

// atLast is a time in milliseconds after those of the tests in every order: no delay lasts until
// then.
const atLast = 2_000_000

// take takes a message, one that was returned first.
func take(r leaser, self uint32) (pos uint64, again bool, err error) {
	for range 3 {
		if pos, err = r.Take(self); err != ErrReturned {
			return pos, false, err
		}
		if pos, _, ok := r.Retake(self, atLast); ok {
			return pos, true, nil
		}
	}
	return 0, false, ErrBusy
}

// takeN is take of up to n messages.
func (r *MPMC) takeN(self uint32, n int) (pos uint64, k int, again bool, err error) {
	for range 3 {
		if pos, k, err = r.TakeN(self, n); err != ErrReturned {
			return pos, k, false, err
		}
		if pos, _, ok := r.Retake(self, atLast); ok {
			return pos, 1, true, nil
		}
	}
	return 0, 0, false, ErrBusy
}

// how is the state of a lease that the caller has.
func (r *MPMC) how(pos uint64) uint64 {
	i, _ := r.at(pos)
	return word(r.slot(i).Load()).state()
}

// releaseAny ends a lease of the caller, whatever its state.
func (r *MPMC) releaseAny(self uint32, pos uint64) error {
	switch r.how(pos) {
	case again:
		return r.ReleaseAgain(self, pos)
	case batch:
		return r.ReleaseN(self, pos, 1)
	}
	return r.ReleaseFence(self, pos)
}

// returnAny returns a message of the caller.
func (r *MPMC) returnAny(self uint32, pos uint64) error {
	how := r.how(pos)
	if how != again && how != batch {
		how = taken
	}
	return r.giveBack(self, pos, how, 0)
}

// withMarks gives a ring marks of its own.
func withMarks(r *MPMC) *MPMC {
	_ = r.SetMarks(make([]atomic.Uint64, r.slots.Len()))
	return r
}

// only is for End.
func only(id uint32) func(uint32) bool { return func(i uint32) bool { return i == id } }
