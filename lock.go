package shmem

import (
	"context"
	"fmt"
	"sync"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// The box's own reader/writer lock. The writer's word is a robust lock word. A reader's mark is the id
// of its attachment in its slot; the goroutines of one attachment share it and are counted here. A
// reader publishes its mark, then looks at the writer's word; a writer takes the word, then looks at
// the marks: one of the two sees the other, and it is the reader who steps back.
type readers struct {
	mu sync.Mutex
	n  int
}

func (s *Segment) object() robust.Object { return robust.Object{M: s.m, Me: s.id} }

// lockable says why the value cannot be locked through this attachment.
func (s *Segment) lockable() error {
	switch {
	case s.head == nil:
		return fmt.Errorf("%w: a foreign segment has no lock", ErrForeign)
	case s.id == format.Nobody || s.ReadOnly():
		return fmt.Errorf("%w: use Load, Wait and Watch", ErrReadOnly)
	}
	return nil
}

// lock takes the lock for writing and undoes what a dead holder left half done. s.m is pinned.
func (s *Segment) lock(ctx context.Context) error {
	w := s.m.Peers.Words
	if _, err := robust.Acquire(ctx, s.object(), &w.Lock, &w.LockArmed, robust.TakeOver); err != nil {
		return err
	}
	if err := s.awaitReaders(ctx); err != nil {
		s.unlock()
		return err
	}
	if w.Seq.Load()&1 == 0 {
		return nil
	}
	if s.head.ImageOff == 0 {
		s.unlock()
		return fmt.Errorf("%w (there is no room to undo what it did: Options.Undo)", mem.ErrOwnerDied)
	}
	s.restore()
	return nil
}

func (s *Segment) unlock() {
	w := s.m.Peers.Words
	_ = robust.Release(s.object(), &w.Lock, &w.LockArmed)
}

// awaitReaders waits until no living attachment reads. The lock is held: no new one begins to.
func (s *Segment) awaitReaders(ctx context.Context) error {
	p := s.m.Peers
	for i := range p.High() {
		r := &p.Slots[i].Reader
		for {
			id := format.ID(r.Load())
			if id == format.Nobody || int(id.Slot()) != i || !p.Alive(id) {
				break
			}
			err := wait.Until(ctx, s.m, &p.Words.ReadersArmed, func() bool { return format.ID(r.Load()) != id },
				wait.Options{Look: func() bool { return !p.Alive(id) }, Watch: []format.ID{id}})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// rlock takes the lock for reading. s.m is pinned.
func (s *Segment) rlock(ctx context.Context) error {
	w, slot := s.m.Peers.Words, &s.m.Peers.Slots[s.id.Slot()]
	for {
		s.readers.mu.Lock()
		if s.readers.n++; s.readers.n == 1 {
			slot.Reader.Store(uint32(s.id))
		}
		s.readers.mu.Unlock()
		step.Reach(step.ViewMark)
		if w.Lock.Load() == 0 {
			robust.Acquired(s.object(), &w.Lock)
			if w.Seq.Load()&1 == 0 {
				step.Reach(step.ViewTaken)
				return nil
			}
		}
		s.runlock()
		// Somebody writes, or died writing: wait in line with the writers, which recovers the value.
		if err := s.lock(ctx); err != nil {
			return err
		}
		s.unlock()
	}
}

func (s *Segment) runlock() {
	w := s.m.Peers.Words
	robust.Releasing(s.object(), &w.Lock)
	s.readers.mu.Lock()
	s.readers.n--
	last := s.readers.n == 0
	if last {
		s.m.Peers.Slots[s.id.Slot()].Reader.Store(0)
	}
	s.readers.mu.Unlock()
	if last {
		step.Reach(step.ViewLeft)
		wait.Wake(s.m, &w.ReadersArmed)
	}
}

// The sequence counter: even, the payload counts; odd, the image does.

// setOdd makes the image count. Nothing that is written to the payload afterwards can be seen before.
func (s *Segment) setOdd() {
	seq := &s.m.Peers.Words.Seq
	seq.Store(seq.Load() + 1)
	// On arm64 a plain store may pass the store above, but not a load of the same word.
	_ = seq.Load()
}

// setEven makes the payload count, with everything that was written to it before.
func (s *Segment) setEven() {
	seq := &s.m.Peers.Words.Seq
	seq.Store(seq.Load() + 1)
}

// restore undoes a change that was never finished. The lock is held, the counter odd. It can be
// killed and done again at any point.
func (s *Segment) restore() {
	s.copyShared(0, int(s.head.ImageOff), step.RestoreWord)
	step.Reach(step.RestoreCopy)
	s.setEven()
	step.Reach(step.RestoreEven)
	wait.Wake(s.m, &s.m.Peers.Words.SeqArmed)
}
