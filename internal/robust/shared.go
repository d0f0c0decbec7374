package robust

import (
	"context"
	"sync"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// Shared is the box's own lock: one writer or many readers. Its word is in the control block, and an
// attachment that reads marks its slot. A dead writer's lock passes to the next writer, who is
// told; a dead reader's mark does not count.
//
// Its methods may be called by several goroutines; every caller has the mapping pinned, from before
// the lock until after the unlock.
type Shared struct {
	o     Object
	words *mem.Words

	mu      sync.Mutex
	reading int // goroutines of this attachment; the slot's mark stands while it is not 0
}

// NewShared is the lock of the segment that m is attached to, with a slot. There is one a mapping.
func NewShared(m *mem.Mapping) *Shared {
	return &Shared{o: Object{m, m.Peers.Self}, words: m.Peers.Words}
}

// Lock takes the lock for writing. died says that the last holder died: the caller recovers before
// anything else, and calls Abandon if it cannot. With an error the lock is not held, and that
// somebody died is not forgotten.
func (s *Shared) Lock(ctx context.Context) (died bool, err error) {
	w := s.words
	over, err := Acquire(ctx, s.o, &w.Lock, &w.LockArmed, TakeOver)
	if err != nil {
		return false, err
	}
	locked := false
	defer func() {
		switch { // also when memory faults: who lives must not keep it
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

// Unlock frees the lock that Lock took.
func (s *Shared) Unlock() error { return Release(s.o, &s.words.Lock, &s.words.LockArmed) }

// Abandon frees the lock that Lock took, and lets the next Lock say that the holder died.
func (s *Shared) Abandon() error { return MarkDead(s.o, &s.words.Lock, &s.words.LockArmed) }

// drain waits until nobody reads any more. New readers wait for the word, which is held.
func (s *Shared) drain(ctx context.Context) error {
	if s.unread() || wait.Spin(s.o.M, &s.words.ReadersArmed, s.unread) {
		return nil
	}
	for {
		alive := s.readers()
		if len(alive) == 0 {
			return nil
		}
		err := wait.Until(ctx, s.o.M, &s.words.ReadersArmed, s.unread, wait.Options{
			Look:   func() bool { return len(s.readers()) < len(alive) },
			Watch:  alive,
			NoSpin: true,
		})
		if err != nil {
			return err
		}
	}
}

func (s *Shared) unread() bool {
	p := s.o.M.Peers
	for i := range p.Slots[:p.High()] {
		if p.Slots[i].Reader.Load() != 0 {
			return false
		}
	}
	return true
}

// readers are the living among those whose mark stands; it wipes out the others' marks.
func (s *Shared) readers() (alive []format.ID) {
	p := s.o.M.Peers
	for i := range p.Slots[:p.High()] {
		r := &p.Slots[i].Reader
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

// RLock takes the lock for reading. died says that it is not held, because a dead writer holds it:
// Lock, recover, Unlock, and try again.
func (s *Shared) RLock(ctx context.Context) (died bool, err error) {
	for {
		if s.tryRLock() {
			return false, nil
		}
		w := &s.words.Lock
		owner := format.ID(w.Load() &^ waiters)
		if owner == format.Nobody {
			w.CompareAndSwap(waiters, free) // of nobody, which none of ours writes
			continue
		}
		if owner == format.Dead {
			return true, nil
		}
		if wait.Spin(s.o.M, &s.words.LockArmed, func() bool { return w.Load() == free }) {
			continue
		}
		if died, err := Changed(ctx, s.o, w, &s.words.LockArmed); died || err != nil {
			return died, err
		}
	}
}

func (s *Shared) tryRLock() bool {
	w := &s.words.Lock
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Load() != free {
		return false // a writer that waits comes before new readers
	}
	if s.reading == 0 {
		mark := &s.o.M.Peers.Slots[s.o.Me.Slot()].Reader
		mark.Store(uint32(s.o.Me))
		step.Reach(step.RLockMark)
		if w.Load() != free {
			mark.Store(0)
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

// RUnlock ends what RLock began.
func (s *Shared) RUnlock() {
	Releasing(s.o, &s.words.Readers)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading--; s.reading == 0 {
		s.o.M.Peers.Slots[s.o.Me.Slot()].Reader.Store(0)
		step.Reach(step.RUnlockMark)
		wait.Wake(s.o.M, &s.words.ReadersArmed)
	}
}
