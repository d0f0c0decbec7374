package psync

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// MaxHolders is how many attachments can hold permits of a [Semaphore] at a time, each any number
// of them. A further attachment gets [ErrNoRoom].
const MaxHolders = 30

// A Semaphore has a number of permits. The zero value has none until [Semaphore.SetLimit]. Several
// goroutines and processes may call its methods at once.
//
// A permit belongs to the attachment that acquired it, and only this attachment can release it.
// When the attachment dies or is closed its permits are free again. So a Semaphore cannot count
// what one process adds and another takes: use package queue or a [Cond] for that.
//
// # Fairness
//
// A request that can be served does not wait for one that cannot. Goroutines of one attachment that
// wait for the same number of permits are served in the order in which they began to wait. All
// others have no order.
//
// No request waits for ever beside others that are served. After 10 ms it reserves its permits:
// other requests, of any process, then get only permits that it does not need. The reservation
// lasts as long as the request has waited. If that is too short the request pauses for as long, and
// reserves again. So it holds others up for at most half of the time, and is served within a few
// times the longest time for which others hold permits. One request has a reservation at a time; it
// loses it to one that has waited more than twice as long. A request for more than the limit
// reserves nothing.
type Semaphore struct {
	// held is a table of the permits that each attachment has. Under w it is changed by one store
	// at a time, so it is consistent at every moment: w passes from a dead holder to the next. The
	// free permits are the limit less those of living attachments, so no death loses a permit. All
	// but limit and armed are written by the holder of w; a request that ends clears its own
	// reservation without w.
	_        noCopy
	w        robust.Lock
	limit    atomic.Uint32
	armed    atomic.Uint32
	reserved atomic.Uint64 // id << 32 | permits that are kept for that attachment; 0: none
	waited   atomic.Uint32 // ms that the request had waited when it reserved them
	_        atomic.Uint32
	held     [MaxHolders]atomic.Uint64 // id << 32 | permits
}

// SetLimit sets the number of permits. Permits that are held stay held when the limit is lowered.
func (s *Semaphore) SetLimit(n uint32) error {
	return fail("semaphore setlimit", s, s.setLimit(n))
}

func (s *Semaphore) setLimit(n uint32) error {
	o, err := robust.Of(s)
	if err != nil {
		return err
	}
	if err := o.Pin(); err != nil {
		return err
	}
	defer o.Unpin()
	robust.Releasing(o, &s.armed)
	s.limit.Store(n)
	wait.Wake(o.M, &s.armed)
	return nil
}

// Limit returns the number of permits, held or free.
func (s *Semaphore) Limit() uint32 { return s.limit.Load() }

// Acquire takes n permits at once. It waits until n permits are free, or ctx is done; with more
// than the limit it waits until the limit is raised. The order is that of Fairness above. With n of
// 0 it takes nothing and does not wait. When permits are free and [MaxHolders] other attachments
// hold some, Acquire returns [ErrNoRoom].
func (s *Semaphore) Acquire(ctx context.Context, n uint32) error {
	return fail("semaphore acquire", s, s.acquire(ctx, n))
}

func (s *Semaphore) acquire(ctx context.Context, n uint32) error {
	o, err := robust.ToLock(s)
	if err != nil || n == 0 {
		return err
	}
	return o.Take(
		func() error { return s.waitAndTake(ctx, o, n) },
		func() { _ = s.release(n) },
	)
}

// waitAndTake is acquire with the object pinned.
func (s *Semaphore) waitAndTake(ctx context.Context, o robust.Object, n uint32) error {
	first := request{s: s, o: o, n: n}
	if first.free() {
		if done, err := first.take(ctx); done || err != nil {
			return err
		}
	}
	return s.waitInTurn(ctx, o, n)
}

// waitInTurn is the part of waitAndTake that may wait.
func (s *Semaphore) waitInTurn(ctx context.Context, o robust.Object, n uint32) error {
	// Requests for another number of permits may be served while this one waits.
	turn, err := wait.TurnOf(ctx, o.M, &s.armed, n)
	if err != nil {
		return err
	}
	defer turn.Done()
	r := &request{s: s, o: o, n: n}
	r.begin()
	defer r.end()
	wait.Spin(o.M, &s.armed, r.free)
	for waited := false; ; waited = true {
		done, err := r.take(ctx)
		if waited {
			r.passOn()
		}
		if done || err != nil {
			return err
		}
		if err := r.wait(ctx); err != nil {
			return err
		}
	}
}

// TryAcquire takes n permits if they are free and not reserved, and reports whether it did; with n
// of 0 it takes nothing and reports true. It never waits: it also returns false while another
// living process is changing the table of permits, which takes only a moment unless that process
// is stopped in it. It returns [ErrNoRoom] as Acquire does.
func (s *Semaphore) TryAcquire(n uint32) (bool, error) {
	err := s.tryAcquire(n)
	if errors.Is(err, ErrNotHeld) {
		return false, nil
	}
	return err == nil, fail("semaphore tryacquire", s, err)
}

// tryAcquire is TryAcquire. It returns ErrNotHeld if the permits are not free.
func (s *Semaphore) tryAcquire(n uint32) error {
	o, err := robust.ToLock(s)
	if err != nil || n == 0 {
		return err
	}
	return o.Take(func() error {
		if locked, err := s.tryLock(o); !locked || err != nil {
			return cmp.Or(err, ErrNotHeld)
		}
		r := request{s: s, o: o, n: n}
		if done, err := r.takeLocked(); !done || err != nil {
			return cmp.Or(err, ErrNotHeld)
		}
		return nil
	}, func() { _ = s.release(n) })
}

// Release frees n permits of this attachment. It returns [ErrNotHeld], and frees none, if the
// attachment holds fewer. Release waits while another living process is changing the table of
// permits: if that process is stopped in it, until it goes on or dies.
func (s *Semaphore) Release(n uint32) error {
	return fail("semaphore release", s, s.release(n))
}

func (s *Semaphore) release(n uint32) error {
	o, err := robust.Of(s)
	if err != nil {
		return err
	}
	if err := o.PinNested(); err != nil {
		return err
	}
	defer o.Unpin()
	robust.Releasing(o, &s.armed)
	if !robust.TryFast(o, &s.w.Word) {
		if err := robust.AcquireBriefly(o, &s.w.Word, &s.w.Armed); err != nil {
			return err
		}
	}
	step.Reach(step.SemLocked)
	p, _ := s.entryOf(o.Me)
	if p == nil || uint32(p.Load()) < n {
		p = nil
	} else if have := uint32(p.Load()); have == n {
		p.Store(0)
	} else {
		p.Store(uint64(o.Me)<<32 | uint64(have-n))
	}
	step.Reach(step.SemBack)
	if err := robust.ReleaseOne(o, &s.w.Word, &s.w.Armed); err != nil {
		return err
	}
	step.Reach(step.SemBackOut)
	if p == nil && n > 0 {
		if o.M == nil && s.hasForeignHolder() {
			return ErrNotShared
		}
		return ErrNotHeld
	}
	if s.armed.Load()&1 != 0 {
		wait.WakeN(o.M, &s.armed, int(min(n, maxWoken)))
	}
	return nil
}

// Available returns the number of permits that are free at the moment.
func (s *Semaphore) Available() (uint32, error) {
	o, err := robust.Of(s)
	if err == nil {
		err = o.Pin()
	}
	if err != nil {
		return 0, fail("semaphore available", s, err)
	}
	defer o.Unpin()
	limit, held := uint64(s.limit.Load()), uint64(0)
	for i := range s.held {
		if k := s.held[i].Load(); k != 0 && o.Alive(format.ID(k>>32)) {
			held += uint64(uint32(k))
		}
	}
	return uint32(limit - min(held, limit)), nil
}

// tableMode is the mode of the table's lock.
const tableMode = robust.TakeOver | robust.One

// maxWoken bounds how many waiters a release wakes itself. Each of them wakes more.
const maxWoken = 1024

// lock locks the table. It takes the lock over from a dead holder.
func (s *Semaphore) lock(ctx context.Context, o robust.Object) error {
	if !robust.TryFast(o, &s.w.Word) {
		if _, err := robust.Acquire(ctx, o, &s.w.Word, &s.w.Armed, tableMode); err != nil {
			return err
		}
	}
	step.Reach(step.SemLocked)
	return nil
}

// tryLock is lock that gives up, after a moment, while a living attachment holds the table.
func (s *Semaphore) tryLock(o robust.Object) (bool, error) {
	const tries = 100
	free := robust.TryFast(o, &s.w.Word)
	for i := 0; i < tries && !free; i++ {
		free = s.w.Word.Load() == 0 && robust.TryFast(o, &s.w.Word)
	}
	if !free {
		switch _, err := robust.TryAcquire(o, &s.w.Word, &s.w.Armed, tableMode); {
		case err == errs.NotHeld:
			return false, nil
		case err != nil:
			return false, err
		}
	}
	step.Reach(step.SemLocked)
	return true, nil
}

// sweep frees the permits and the reservation of dead attachments. The table is locked and the
// object pinned.
func (s *Semaphore) sweep(o robust.Object) {
	if k := s.reserved.Load(); k != 0 && !o.Alive(format.ID(k>>32)) {
		s.reserved.Store(0)
	}
	for i := range s.held {
		if k := s.held[i].Load(); k != 0 && !o.Alive(format.ID(k>>32)) {
			s.held[i].Store(0)
			step.Reach(step.SemSwept)
		}
	}
}

// entryOf returns the table's entry of me, else a free entry, else nil, and the number of all
// permits that are held.
func (s *Semaphore) entryOf(me format.ID) (p *atomic.Uint64, used uint64) {
	mine := false
	for i := range s.held {
		k := s.held[i].Load()
		used += uint64(uint32(k))
		if id := format.ID(k >> 32); id == me && !mine {
			p, mine = &s.held[i], true
		} else if k == 0 && p == nil {
			p = &s.held[i]
		}
	}
	return p, used
}

// holders returns the attachments that hold permits, or for which permits are reserved.
func (s *Semaphore) holders() (ids []format.ID) {
	for i := range s.held {
		if k := s.held[i].Load(); k != 0 {
			ids = append(ids, format.ID(k>>32))
		}
	}
	if id := format.ID(s.reserved.Load() >> 32); id != format.NoID && !slices.Contains(ids, id) {
		ids = append(ids, id)
	}
	return ids
}

func (s *Semaphore) anyDead(o robust.Object) bool {
	for _, id := range s.holders() {
		if !o.Alive(id) {
			return true
		}
	}
	return false
}

// hasForeignHolder reports whether an attachment of a segment holds permits. In ordinary memory
// that tells that the semaphore was copied out of the segment.
func (s *Semaphore) hasForeignHolder() bool {
	for _, id := range s.holders() {
		if id.Gen() != 0 {
			return true
		}
	}
	return false
}
