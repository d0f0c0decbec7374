package shmem

import (
	"context"
	"fmt"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

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

func (s *Segment) canLock() bool { return s.shared != nil && s.m.Writable() }

// lock takes the box's lock for writing and undoes what a dead holder left half done, which the
// sequence counter tells. s.m is pinned.
func (s *Segment) lock(ctx context.Context) error {
	if _, err := s.shared.Lock(ctx); err != nil {
		return err
	}
	locked := false
	defer func() {
		if !locked { // also when memory faults: who lives must not keep it
			s.unlock()
		}
	}()
	if s.head.ImageOff != 0 {
		if err := s.learn(); err != nil {
			return err
		}
	}
	if !s.whole() {
		if s.head.ImageOff == 0 {
			return errNoImage
		}
		s.restore()
	}
	locked = true
	return nil
}

var errNoImage = fmt.Errorf("%w (there is no room to undo what it did: Options.Undo)", mem.ErrOwnerDied)

func (s *Segment) unlock() { _ = s.shared.Unlock() }

// rlock takes the box's lock for reading. s.m is pinned.
func (s *Segment) rlock(ctx context.Context) error {
	for {
		died, err := s.shared.RLock(ctx)
		if err != nil {
			return err
		}
		if !died {
			if s.whole() {
				return nil
			}
			s.runlock()
		}
		// Somebody died while it changed the value.
		if err := s.lock(ctx); err != nil {
			return err
		}
		s.unlock()
	}
}

func (s *Segment) runlock() { s.shared.RUnlock() }

// whole reports whether nobody is, or died, in the middle of a change.
func (s *Segment) whole() bool { return s.m.Peers.Words.Seq.Load()&1 == 0 }

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
