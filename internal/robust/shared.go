package robust

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// Shared is the lock of a box, for one writer or many readers. Its word is in the control block.
// An attachment that reads sets a mark in its slot. The next writer takes the lock over from a dead
// one, and is told. The mark of a dead reader does not count.
//
// A reader stores its mark, then loads the word. A writer stores the word, then loads the marks. So
// at least one of the two sees the other.
//
// Several goroutines may call the methods at once. Every caller has the mapping pinned from before
// the lock until after the unlock.
type Shared struct {
	o     Object
	words *mem.Words
	mark  *atomic.Uint32 // in the slot of this attachment

	mu sync.Mutex
	// reading counts the goroutines of this attachment that read. The mark is set while it is not
	// 0. Guarded by mu.
	reading int
}

// MoreReaders is how many waiters a reader wakes that was woken itself: so many readers are woken
// in few rounds.
const MoreReaders = 2

// NewShared returns the lock of the segment that m is attached to with a slot. A mapping has one.
func NewShared(m *mem.Mapping) *Shared {
	p := m.Peers
	return &Shared{o: Object{m, p.Self}, words: p.Words, mark: &p.Slot(int(p.Self.Slot())).Reader}
}

// Lock takes the lock for writing. It waits while living attachments hold the lock, until ctx is
// done. died reports that the last writer died: then the caller recovers the value before anything
// else, and calls Abandon if it cannot. With an error the lock is not held, and a later Lock still
// reports the death.
func (s *Shared) Lock(ctx context.Context) (died bool, err error) {
	w := s.words
	over, err := Acquire(ctx, s.o, &w.Lock, &w.LockArmed, TakeOver|One)
	if err != nil {
		return false, err
	}
	locked := false
	defer func() {
		switch { // also when memory faults: this process lives on, and must not keep the lock
		case locked:
		case over:
			_ = s.Abandon()
		default:
			_ = s.Unlock()
		}
	}()
	step.Reach(step.WriteWord)
	if err := s.drain(ctx); err != nil {
		return false, err
	}
	locked = true
	Acquired(s.o, &w.Readers)
	step.Reach(step.WriteTaken)
	return over, nil
}

// Unlock ends Lock. From time to time it leaves the lock to the waiter that it wakes.
func (s *Shared) Unlock() error { return HandOver(s.o, &s.words.Lock, &s.words.LockArmed) }

// Abandon ends Lock, and makes the next Lock report that the writer died.
func (s *Shared) Abandon() error { return MarkDead(s.o, &s.words.Lock, &s.words.LockArmed) }

// drain waits until no living attachment reads. The caller holds the word, so new readers wait.
func (s *Shared) drain(ctx context.Context) error {
	if s.noMarks() || wait.Spin(s.o.M, &s.words.ReadersArmed, s.noMarks) {
		return nil
	}
	for {
		alive := s.sweep()
		if len(alive) == 0 {
			return nil
		}
		if err := errs.Context(ctx); err != nil { // Until may return at once
			return err
		}
		// A reader that is not in alive is not watched yet: its mark ends the wait, for another
		// look.
		ready := func() bool { return s.noMarksOf(alive) }
		err := wait.Until(ctx, s.o.M, &s.words.ReadersArmed, ready, wait.Options{
			Probe:  func() bool { return !slices.Equal(s.sweep(), alive) },
			Watch:  alive,
			NoSpin: true,
		})
		if err != nil {
			return err
		}
	}
}

func (s *Shared) noMarks() bool {
	p := s.o.M.Peers
	for i := range p.SlotBound() {
		if p.Slot(i).Reader.Load() != 0 {
			return false
		}
	}
	return true
}

// noMarksOf reports whether none of these attachments has a mark, or another one has.
func (s *Shared) noMarksOf(known []format.ID) bool {
	none := true
	p := s.o.M.Peers
	for i := range p.SlotBound() {
		if id := format.ID(p.Slot(i).Reader.Load()); id != 0 {
			if !slices.Contains(known, id) {
				return true
			}
			none = false
		}
	}
	return none
}

// sweep removes the marks of dead attachments, and returns the living ones that have a mark.
func (s *Shared) sweep() (alive []format.ID) {
	p := s.o.M.Peers
	for i := range p.SlotBound() {
		r := &p.Slot(i).Reader
		if id := r.Load(); id != 0 {
			if int(format.ID(id).Slot()) == i && s.o.Alive(format.ID(id)) {
				alive = append(alive, format.ID(id))
			} else {
				r.CompareAndSwap(id, 0)
			}
		}
	}
	return alive
}

// RLock takes the lock for reading. It waits while a living writer holds the lock or waits for it,
// until ctx is done. died reports that a dead writer holds the lock, so that RLock has not taken
// it: the caller calls Lock, recovers the value, calls Unlock, and tries again.
func (s *Shared) RLock(ctx context.Context) (died bool, err error) {
	if s.tryRLock() {
		return false, nil
	}
	return s.rlock(ctx)
}

// rlock is the part of RLock that may wait. A reader that was woken may be the only one: it wakes
// others, each of which does so too.
func (s *Shared) rlock(ctx context.Context) (died bool, err error) {
	for waited := false; ; {
		if s.tryRLock() {
			if waited {
				Unreserve(&s.words.Lock)
				wait.WakeN(s.o.M, &s.words.LockArmed, MoreReaders)
			}
			return false, nil
		}
		w := &s.words.Lock
		holder := holderOf(w.Load())
		if holder == format.NoID {
			continue
		}
		if holder == format.Dead {
			return true, nil
		}
		if wait.Spin(s.o.M, &s.words.LockArmed, func() bool { return w.Load() == free }) {
			continue
		}
		if died, err := Freed(ctx, s.o, w, &s.words.LockArmed); died || err != nil {
			return died, err
		}
		waited = true
	}
}

func (s *Shared) tryRLock() bool {
	w := &s.words.Lock
	s.mu.Lock()
	defer s.mu.Unlock()
	if holderOf(w.Load()) != format.NoID {
		return false // a waiting writer comes before new readers
	}
	if s.reading == 0 {
		s.mark.Store(uint32(s.o.Me))
		step.Reach(step.RLockMark)
		if holderOf(w.Load()) != format.NoID {
			s.mark.Store(0)
			step.Reach(step.RLockBack)
			wait.Wake(s.o.M, &s.words.ReadersArmed)
			return false
		}
	}
	s.reading++
	Acquired(s.o, w)
	step.Reach(step.RLockTaken)
	return true
}

// RUnlock ends RLock.
func (s *Shared) RUnlock() {
	Releasing(s.o, &s.words.Readers)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading--; s.reading == 0 {
		s.mark.Store(0)
		step.Reach(step.RUnlockMark)
		wait.Wake(s.o.M, &s.words.ReadersArmed)
	}
}
