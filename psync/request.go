package psync

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// patience is how long a request waits before it reserves its permits.
const patience = 10 * time.Millisecond

var errHolders = fmt.Errorf("%w: %d attachments hold permits (psync.MaxHolders); try again when "+
	"one has released all of its permits, or open the box once in each process", errs.NoRoom,
	MaxHolders)

// A request is a call that wants permits of a Semaphore.
type request struct {
	s *Semaphore
	o robust.Object
	n uint32

	began    time.Time     // when it began to wait; zero: it does not, so it reserves nothing
	reserved bool          // the reservation is this request's, if the word still says so
	lasts    time.Duration // how long the last reservation was to last
	due      time.Time     // when it is to end, or the next one may begin
}

// word is what Semaphore.reserved is while the request has the reservation.
func (r *request) word() uint64 { return uint64(r.o.Me)<<32 | uint64(r.n) }

func (r *request) mine(word uint64) bool { return r.reserved && word == r.word() }

// look returns the table's entry for the attachment, nil if there is none, and whether the permits
// are free, and not reserved for another request.
func (r *request) look() (p *atomic.Uint64, free bool) {
	limit := uint64(r.s.limit.Load())
	p, used := r.s.entryOf(r.o.Me)
	if k := r.s.reserved.Load(); k != 0 && !r.mine(k) && uint64(uint32(k)) <= limit {
		used += uint64(uint32(k))
	}
	return p, used+uint64(r.n) <= limit
}

// free reports whether the permits are free, and not reserved for another request.
func (r *request) free() bool {
	_, free := r.look()
	return free
}

// begin says that the request begins to wait.
func (r *request) begin() {
	r.began = time.Now()
	r.due = r.began.Add(patience)
}

// end says that the request does not wait any more. The table is not locked: a process that is
// stopped in it must not hold up a call whose context is done. The object is pinned.
func (r *request) end() {
	if r.reserved && r.s.reserved.CompareAndSwap(r.word(), 0) {
		wait.Wake(r.o.M, &r.s.armed)
	}
}

// cancel ends the reservation of the request, if it has one. The table is locked.
func (r *request) cancel() {
	if r.reserved && r.mine(r.s.reserved.Load()) {
		r.s.reserved.Store(0)
	}
	r.reserved = false
}

// take takes the permits if they are free, else after it has freed those of dead attachments. If
// they are not free it begins or ends a reservation where that is due. The object is pinned.
func (r *request) take(ctx context.Context) (done bool, err error) {
	if err := r.s.lock(ctx, r.o); err != nil {
		return false, err
	}
	return r.takeLocked()
}

// takeLocked is take with the table locked, which it unlocks.
func (r *request) takeLocked() (done bool, err error) {
	s := r.s
	was := s.reserved.Load()
	p, free := r.look()
	if !free || p == nil {
		s.sweep(r.o)
		p, free = r.look()
	}
	var full error
	switch {
	case free && p != nil:
		r.enter(p)
		done = true
	case free:
		full = errHolders
	case !r.began.IsZero():
		r.plan(time.Now())
	}
	step.Reach(step.SemTaken)
	ended := was != 0 && s.reserved.Load() == 0
	if err := robust.ReleaseOne(r.o, &s.w.Word, &s.w.Armed); err != nil {
		return false, err
	}
	if ended { // other requests may be served now
		wait.Wake(r.o.M, &s.armed)
	}
	if done {
		robust.Acquired(r.o, &s.armed)
	}
	return done, full
}

// passOn wakes another request that may be served. The caller may be the only one that was told of
// permits, for example those of a dead process: it has taken some and more are left.
func (r *request) passOn() {
	if r.s.armed.Load()&1 == 0 {
		return
	}
	limit := uint64(r.s.limit.Load())
	if _, used := r.s.entryOf(r.o.Me); used < limit {
		wait.WakeN(r.o.M, &r.s.armed, 1)
	}
}

// enter puts the permits into the attachment's entry of the table, which is locked.
func (r *request) enter(p *atomic.Uint64) {
	if r.n > 0 {
		have := uint64(uint32(p.Load())) // at most the limit
		p.Store(uint64(r.o.Me)<<32 | have + uint64(r.n))
	}
	r.cancel()
}

// plan begins the request's reservation, or ends it. A reservation lasts as long as the request has
// waited before, and the request then pauses for as long. A request that has waited for more than
// twice as long as another one before its reservation replaces it: the other one began later, or
// its process is stopped. The table is locked.
func (r *request) plan(now time.Time) {
	s := r.s
	switch k := s.reserved.Load(); {
	case now.Before(r.due):
	case r.mine(k):
		r.cancel()
		r.due = now.Add(r.lasts)
	case r.n > s.limit.Load():
	case k == 0 || now.After(r.mayReplace()):
		r.lasts = now.Sub(r.began)
		s.waited.Store(uint32(min(r.lasts/time.Millisecond, math.MaxUint32)))
		s.reserved.Store(r.word())
		r.reserved = true
		r.due = now.Add(r.lasts)
		step.Reach(step.SemReserved)
	}
}

// mayReplace is when the request may replace the reservation of another one.
func (r *request) mayReplace() time.Time {
	return r.began.Add(2 * time.Duration(r.s.waited.Load()) * time.Millisecond)
}

// wait waits until the permits seem to be free, an attachment has died, or plan may have something
// to do. The object is pinned.
func (r *request) wait(ctx context.Context) error {
	s := r.s
	at, overdue := r.due, false
	unlimited := r.n > s.limit.Load()
	if unlimited {
		at = time.Time{} // until the limit is raised
	} else if now := time.Now(); !r.mine(s.reserved.Load()) && !now.Before(r.due) {
		at, overdue = r.mayReplace().Add(time.Millisecond), true
	}
	if ctx == nil {
		return errs.NoContext
	}
	most := ctx
	if !at.IsZero() {
		var cancel context.CancelFunc
		most, cancel = context.WithTimeout(ctx, time.Until(at))
		defer cancel()
	}
	ready := func() bool {
		return r.free() || overdue && s.reserved.Load() == 0 || unlimited && r.n <= s.limit.Load()
	}
	err := wait.Until(most, r.o.M, &s.armed, ready, wait.Options{
		Probe:  func() bool { return s.anyDead(r.o) },
		Watch:  s.holders(),
		NoSpin: true,
	})
	if err != nil && most.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}
