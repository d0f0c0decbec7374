package ring

import (
	"sync"

	"github.com/shmembox/shmem/internal/access"
)

// leases know which positions before the head are not released yet, without a look at every slot.
// Each handle of a ring has its own.
//
// Positions are taken in order, and one that was released is never taken again. So a position is
// looked at once when the head has passed it, and again only while a lease on it is out. A look
// costs as much as there are leases, and one load for each message since the last look.
//
// MPMCHeader.Settled saves a new handle what others have looked at: positions before it are
// released. It is a hint, and may be behind.
type leases struct {
	mu   sync.Mutex
	next uint64 // positions before it that are not in out are released; guarded by mu
	out  []lent // in order, those that were leased when they were looked at; guarded by mu
	done int    // so many at the beginning of out are released; guarded by mu
	kept int    // how many positions out had when all were looked at last; guarded by mu

	settled uint64 // Settled when it was loaded or written last; guarded by mu
	step    uint64 // how far Settled may be behind before it is used; settleStep, or less in tests
}

const settleStep = 64

// A lent is a position that is leased, or was, and what late has seen of it.
type lent struct {
	pos  uint64
	word word
	mark Mark
	seen int64 // when word and mark were seen first, in milliseconds
}

// look brings the leases up to date and returns the positions on which there may be one, in order.
// Those at the beginning are looked at until one is leased; with all, each is. The caller holds
// leases.mu.
func (r *MPMC) look(all bool) []lent {
	l := &r.leases
	head := r.headNow()
	low := max(l.next, before(head, r.n))
	if head > low && head-low >= l.step {
		low = r.settledSince(low, head)
	}
	if all || low > l.next || len(l.out)-l.done > 2*l.kept+64 {
		l.forget(r, low)
	} else {
		l.forgetFirst(r)
	}
	for p := low; p < head; p++ {
		if r.lease(p) != 0 {
			l.out = append(l.out, lent{pos: p})
		}
	}
	l.next = max(l.next, head)
	return l.out[l.done:]
}

// settledSince returns the first position, from low on, that need be looked at.
func (r *MPMC) settledSince(low, head uint64) uint64 {
	l := &r.leases
	if s := access.Load("leases.settled", &r.h.Settled); s <= head {
		l.settled = s
		low = max(low, s)
	}
	// A producer that has come round found its slot released.
	if t := access.Load("leases.tail", &r.h.Tail); t-head <= r.n {
		low = max(low, before(t, r.n))
	}
	return low
}

// forget removes the positions that are released. Those before low are.
func (l *leases) forget(r *MPMC, low uint64) {
	kept := l.out[:0]
	for _, e := range l.out[l.done:] {
		if (e.pos >= low || low == l.next) && r.lease(e.pos) != 0 {
			kept = append(kept, e)
		}
	}
	l.out, l.done, l.kept = kept, 0, len(kept)
}

// forgetFirst removes those at the beginning.
func (l *leases) forgetFirst(r *MPMC) {
	for l.done < len(l.out) && r.lease(l.out[l.done].pos) == 0 {
		l.done++
	}
	if 2*l.done >= len(l.out) {
		l.out = append(l.out[:0], l.out[l.done:]...)
		l.done = 0
	}
}

// lease returns the word of the slot of a position if the position is leased or returned, else 0.
func (r *MPMC) lease(pos uint64) word {
	i, lap := r.at(pos)
	w := word(access.Load("leases.look", r.slot(i)))
	if !w.leased() || w.ahead(lap) != 0 {
		return 0
	}
	return w
}

// headNow returns the head, which it advances beyond the leases of a consumer that was killed
// before it has done so.
func (r *MPMC) headNow() uint64 {
	h := access.Load("leases.head", &r.h.Head)
	for range r.n {
		if r.lease(h) == 0 {
			break
		}
		advance("leases.help", &r.h.Head, h, h+1)
		h++
	}
	return h
}

// settle writes Settled, when the leases that are out are known.
func (r *MPMC) settle(out []lent) {
	l := &r.leases
	to := l.next
	if len(out) > 0 {
		to = out[0].pos
	}
	if to < l.settled || to-l.settled < l.step {
		return
	}
	l.settled = to
	if from := access.Load("settle.load", &r.h.Settled); from < to {
		access.CAS("settle.store", &r.h.Settled, from, to)
	}
}

// NoLease reports whether no consumer has a lease, and none was returned. A lease begins where the
// head goes on, or where another one ended in a return.
func (r *MPMC) NoLease() bool {
	r.leases.mu.Lock()
	defer r.leases.mu.Unlock()
	return len(r.look(true)) == 0
}

// ended returns the error at the end of the stream: ErrHeld while a consumer has a lease, whose
// message may be redelivered, else ErrClosed. A lease of the caller's attachment counts too:
// another goroutine may have it, and return the message.
func (r *MPMC) ended() error {
	r.leases.mu.Lock()
	defer r.leases.mu.Unlock()
	for _, l := range r.look(true) {
		if r.lease(l.pos) != 0 {
			return ErrHeld
		}
	}
	return ErrClosed
}

// returnDead returns the messages that dead consumers had leased, and living ones for too long, and
// reports how many. back reports that there is a message for Retake, and that no caller knew.
func (r *MPMC) returnDead(live *known, c Care) (returns int, back bool) {
	r.leases.mu.Lock()
	defer r.leases.mu.Unlock()
	due := int64(0)
	if c.Delay > 0 {
		due = c.Now + c.Delay
	}
	out := r.look(true)
	tail := access.Load("repair.tail", &r.h.Tail)
	for k := range out {
		p := out[k].pos
		i, lap := r.at(p)
		w := r.lease(p)
		switch {
		case w == 0:
		case w.id() == 0:
			// Where it is due, a process may have died before suspect.
			back = back || r.due(i, lap, tail, c.Now)
		case !live.is(w.id()) || r.late(&out[k], i, w, &c):
			if r.endLease(i, w, due) {
				back = back || due == 0
				returns++
			}
		}
	}
	back = back && r.suspect()
	r.settle(out)
	return returns, back
}
