package psync

import (
	"context"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// MaxHolders is how many attachments can hold permits of a [Semaphore] at a time, each any number
// of them. One more waits.
const MaxHolders = 30

// A Semaphore has a number of permits. Its zero value has none: see [Semaphore.SetLimit]. All
// methods may be called by several goroutines and processes at once.
//
// Permits belong to the attachment that acquired them, and only it can release them. They are free
// again when it dies or is closed. (A count that one process raises and another lowers is no
// semaphore here, but a queue, or a [Cond].)
//
// In the segment is a table of attachments and the permits they hold, which is changed by one store
// at a time under a lock of its own; what is free is the limit less what the living hold. So a
// death at any moment loses no permit.
type Semaphore struct {
	_     noCopy
	w     robust.Word // of the table; a dead holder's passes on, for the table is always in order
	limit atomic.Uint32
	armed atomic.Uint32
	held  [MaxHolders]atomic.Uint64 // id << 32 | permits
}

// SetLimit sets the number of permits. When it is lowered, those held stay held.
func (s *Semaphore) SetLimit(n uint32) error {
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

// Limit is the number of permits.
func (s *Semaphore) Limit() uint32 { return s.limit.Load() }

// Acquire takes n permits at once, waiting until there are so many. It is for ever that it waits
// for more than the limit. The goroutines of one attachment are served in their order.
func (s *Semaphore) Acquire(ctx context.Context, n uint32) error {
	o, err := robust.Of(s)
	if err != nil {
		return err
	}
	if err := o.Pin(); err != nil {
		return err
	}
	defer o.Unpin()
	if done, err := s.try(ctx, o, n, false); done || err != nil {
		return err
	}
	turn, err := wait.Turn(ctx, o.M, &s.armed)
	if err != nil {
		return err
	}
	defer turn.Done()
	ready := func() bool { return s.enough(o.Me, n) }
	wait.Spin(o.M, &s.armed, ready)
	for {
		if done, err := s.try(ctx, o, n, true); done || err != nil {
			return err
		}
		err := wait.Until(ctx, o.M, &s.armed, ready, wait.Options{
			Look:   func() bool { return s.anyDead(o) },
			Watch:  s.holders(),
			NoSpin: true,
		})
		if err != nil {
			return err
		}
	}
}

// TryAcquire takes n permits if that needs no waiting, but for the moment in which another process
// is at the table, and reports whether it has.
func (s *Semaphore) TryAcquire(n uint32) (bool, error) {
	o, err := robust.Of(s)
	if err != nil {
		return false, err
	}
	if err := o.Pin(); err != nil {
		return false, err
	}
	defer o.Unpin()
	if done, err := s.try(context.Background(), o, n, false); done || err != nil {
		return done, err
	}
	return s.try(context.Background(), o, n, true)
}

// Release gives n permits back. [ErrNotHeld]: this attachment does not hold so many; none is given
// back then.
func (s *Semaphore) Release(n uint32) error {
	o, err := robust.Of(s)
	if err != nil {
		return err
	}
	if err := o.Join(); err != nil {
		return err
	}
	defer o.Unpin()
	robust.Releasing(o, &s.armed)
	if err := s.lock(context.Background(), o); err != nil {
		return err
	}
	p, _ := s.table(o.Me)
	if p == nil || uint32(p.Load()) < n {
		p = nil
	} else if have := uint32(p.Load()); have == n {
		p.Store(0)
	} else {
		p.Store(uint64(o.Me)<<32 | uint64(have-n))
	}
	step.Reach(step.SemBack)
	if err := robust.Release(o, &s.w.Word, &s.w.Armed); err != nil {
		return err
	}
	step.Reach(step.SemBackOut)
	if p == nil {
		if o.M == nil && s.foreign() {
			return ErrNotShared
		}
		return ErrNotHeld
	}
	wait.Wake(o.M, &s.armed)
	return nil
}

// Available is how many permits are free at the moment.
func (s *Semaphore) Available() (uint32, error) {
	o, err := robust.Of(s)
	if err != nil {
		return 0, err
	}
	if err := o.Pin(); err != nil {
		return 0, err
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

func (s *Semaphore) lock(ctx context.Context, o robust.Object) error {
	if !s.w.TryFast(o) {
		if _, err := robust.Acquire(ctx, o, &s.w.Word, &s.w.Armed, robust.TakeOver); err != nil {
			return err
		}
	}
	step.Reach(step.SemLocked)
	return nil
}

// try takes n permits if they are there. With sweep it takes them from the dead first. The object
// is pinned.
func (s *Semaphore) try(ctx context.Context, o robust.Object, n uint32, sweep bool) (done bool, err error) {
	if !s.enough(o.Me, n) && !sweep {
		return false, nil
	}
	if err := s.lock(ctx, o); err != nil {
		return false, err
	}
	if sweep && !s.enough(o.Me, n) {
		for i := range s.held {
			if k := s.held[i].Load(); k != 0 && !o.Alive(format.ID(k>>32)) {
				s.held[i].Store(0)
				step.Reach(step.SemSwept)
			}
		}
	}
	if p, used := s.table(o.Me); p != nil && used+uint64(n) <= uint64(s.limit.Load()) {
		have := uint64(uint32(p.Load())) // at most the limit
		p.Store(uint64(o.Me)<<32 | have + uint64(n))
		done = true
	}
	step.Reach(step.SemTaken)
	if err := robust.Release(o, &s.w.Word, &s.w.Armed); err != nil {
		return false, err
	}
	if done {
		robust.Acquired(o, &s.armed)
	}
	return done, nil
}

// table is me's entry, or else a free one, or nil, and how many permits are taken.
func (s *Semaphore) table(me format.ID) (p *atomic.Uint64, used uint64) {
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

// enough reports whether n permits are free and there is an entry for me.
func (s *Semaphore) enough(me format.ID, n uint32) bool {
	p, used := s.table(me)
	return p != nil && used+uint64(n) <= uint64(s.limit.Load())
}

func (s *Semaphore) holders() (ids []format.ID) {
	for i := range s.held {
		if k := s.held[i].Load(); k != 0 {
			ids = append(ids, format.ID(k>>32))
		}
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

// foreign reports whether permits are held by attachments of a segment, in ordinary memory.
func (s *Semaphore) foreign() bool {
	for _, id := range s.holders() {
		if id.Gen() != 0 {
			return true
		}
	}
	return false
}
