package shmem

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// ErrOwnerDied: a process died while it changed the value, and there was no room to undo that (see
// Options.Undo). Recover makes the value usable again.
var ErrOwnerDied = errs.OwnerDied

// View calls f with the value, which nobody changes by Update or Store meanwhile, and returns its
// error. f must not change it. Any number of goroutines and processes can be in View at once; it
// waits for an Update that is going on, and an Update waits for it. If the process that changes the
// value dies, what it did is undone first. f must not call View, Load, Update, Store or Close of the same
// box: an Update that waits for the outer call comes before the inner one.
func (b *Box[T]) View(ctx context.Context, f func(*T) error) (err error) {
	s := b.seg
	v, err := b.begin()
	if err != nil {
		return wrap("view", s.name, err)
	}
	defer s.end("view", debug.SetPanicOnFault(true), &err)
	if err := s.rlock(ctx); err != nil {
		return wrap("view", s.name, err)
	}
	defer s.runlock()
	return f(v)
}

// Update calls f with the value, alone, and returns its error. What f did counts as a whole or not at
// all: if f returns an error or panics, or if the process dies, the value is as it was before. Fields
// of sync/atomic and psync types are left alone by that. f must not call View, Load, Update, Store
// or Close of the same box.
//
// In a segment without room to undo (see Options.Undo), what f did before an error stays, and after a
// panic or a death the box answers ErrOwnerDied until Recover.
func (b *Box[T]) Update(ctx context.Context, f func(*T) error) (err error) {
	s := b.seg
	v, err := b.begin()
	if err != nil {
		return wrap("update", s.name, err)
	}
	defer s.end("update", debug.SetPanicOnFault(true), &err)
	if err := s.lock(ctx); err != nil {
		return wrap("update", s.name, err)
	}
	begun, ran := false, false
	defer func() {
		if !begun { // a fault
			s.unlock()
			return
		}
		s.finish(ran && err == nil, ran)
	}()
	step.Reach(step.UpdateLocked)
	if s.head.ImageOff != 0 {
		s.copyShared(int(s.head.ImageOff), 0, step.UpdateWord)
		step.Reach(step.UpdateImage)
	}
	begun = true
	s.setOdd()
	step.Reach(step.UpdateOdd)
	err = f(v)
	ran = true
	return err
}

// finish ends an Update. It also runs when f panics or ends the goroutine.
func (s *Segment) finish(commit, ran bool) {
	defer s.unlock()
	w := s.m.Peers.Words
	switch {
	case commit, ran && s.head.ImageOff == 0:
		step.Reach(step.UpdateRan)
		s.setEven()
		step.Reach(step.UpdateEven)
		wait.Wake(s.m, &w.SeqArmed)
		step.Reach(step.UpdateWoken)
	case s.head.ImageOff == 0:
		// A panic, and no way back: as if the process had died.
	default:
		s.copyShared(0, int(s.head.ImageOff), "")
		step.Reach(step.UpdateUndone)
		s.setEven()
		wait.Wake(s.m, &w.SeqArmed)
	}
}

// Recover repairs a value that a process died over while it changed it, where there was no room to
// undo that: f is called with the value, alone. If f returns nil the box is usable again; if it fails,
// panics or is killed, the box stays as it was. If nobody died, f is not called and Recover returns nil.
func (b *Box[T]) Recover(ctx context.Context, f func(*T) error) (err error) {
	s := b.seg
	v, err := b.begin()
	if err != nil {
		return wrap("recover", s.name, err)
	}
	defer s.end("recover", debug.SetPanicOnFault(true), &err)
	if s.head.ImageOff != 0 { // taking the lock is all
		if err := s.lock(ctx); err != nil {
			return wrap("recover", s.name, err)
		}
		s.unlock()
		return nil
	}
	w := s.m.Peers.Words
	if _, err := s.shared.Lock(ctx); err != nil {
		return wrap("recover", s.name, err)
	}
	defer s.unlock()
	if s.whole() {
		return nil
	}
	if err := f(v); err != nil {
		return err
	}
	s.setEven()
	wait.Wake(s.m, &w.SeqArmed)
	return nil
}

// begin pins the mapping for a call that locks.
func (b *Box[T]) begin() (*T, error) {
	s := b.seg
	if err := s.lockable(); err != nil {
		return nil, err
	}
	return b.pinned()
}

// end ends a call that has pinned the mapping. It is deferred, with what debug.SetPanicOnFault(true)
// returned: a fault in the segment's memory becomes the error of the call, other panics pass.
func (s *Segment) end(op string, old bool, err *error) {
	debug.SetPanicOnFault(old)
	s.m.Unpin()
	if r := recover(); r != nil {
		f := s.m.FaultOf(r)
		if f == nil {
			panic(r)
		}
		*err = wrap(op, s.name, s.fault(f))
	}
}

func (b *Box[T]) pinned() (*T, error) {
	if !b.seg.m.Pin() {
		return nil, ErrClosed
	}
	v := b.Value()
	if v == nil {
		b.seg.m.Unpin()
		return nil, ErrClosed
	}
	return v, nil
}

// How often Load looks again because the value has changed meanwhile, before it takes the lock, and where
// there is no lock to take.
const (
	loadTries         = 64
	loadTriesReadOnly = 1 << 14
)

// Load returns a copy of the value as it was at one moment between two changes by Update or Store. It
// takes no lock, and waits neither for those who change the value nor for those who died over it.
// Fields of sync/atomic types may be newer than the rest; locks of package psync in the copy are zero.
//
// If the value changes too fast for a copy, Load waits for its turn as View does; read-only, where that
// cannot be, it is ErrBusy.
func (b *Box[T]) Load(ctx context.Context) (v T, err error) {
	err = b.LoadTo(ctx, &v)
	return v, err
}

// LoadTo is Load into memory of the caller's, for large values, which are copied once instead of three
// times, and for those with locks and atomics, which `go vet` does not want copied. After an error what
// is in *v is undefined.
func (b *Box[T]) LoadTo(ctx context.Context, v *T) (err error) {
	s := b.seg
	if s.head == nil {
		return wrap("load", s.name, fmt.Errorf("%w: it has no snapshots; use Do", ErrForeign))
	}
	if _, err := b.pinned(); err != nil {
		return wrap("load", s.name, err)
	}
	defer s.end("load", debug.SetPanicOnFault(true), &err)
	dst := mem.Bytes(v)
	seq := &s.m.Peers.Words.Seq
	if robust.RaceEnabled && s.canLock() && (s.head.ImageOff != 0 || s.whole()) {
		// Update writes plainly, and the detector knows nothing of sequence counters.
		return wrap("load", s.name, b.loadLocked(ctx, v))
	}
	tries := loadTries
	if !s.canLock() {
		tries = loadTriesReadOnly
	}
	for try := range tries {
		before := seq.Load()
		src := 0
		if before&1 != 0 {
			if src = int(s.head.ImageOff); src == 0 {
				break // half changed, and no image
			}
		}
		s.loadLocal(dst, src)
		if seq.Load() == before {
			return nil
		}
		if try >= loadTries/2 {
			runtime.Gosched()
		}
	}
	if !s.canLock() || s.head.ImageOff == 0 && !s.whole() {
		return wrap("load", s.name, errLoadBusy)
	}
	return wrap("load", s.name, b.loadLocked(ctx, v))
}

var errLoadBusy = fmt.Errorf("%w: no consistent copy could be taken; try again, or attach for writing so that Load can wait its turn", ErrContended)

func (b *Box[T]) loadLocked(ctx context.Context, v *T) error {
	s := b.seg
	if err := s.rlock(ctx); err != nil {
		return err
	}
	defer s.runlock()
	s.loadLocal(mem.Bytes(v), 0)
	return nil
}

// Store replaces the value by v, as a whole: whoever reads by View, Update or Load sees the old value
// or the new one, also if the process dies. Fields of sync/atomic and psync types are left as they are.
func (b *Box[T]) Store(ctx context.Context, v T) error { return b.store(ctx, &v) }

// StoreFrom is Store from memory of the caller's, for large values, and for those with locks and
// atomics, which `go vet` does not want copied.
func (b *Box[T]) StoreFrom(ctx context.Context, v *T) error { return b.store(ctx, v) }

func (b *Box[T]) store(ctx context.Context, v *T) (err error) {
	s := b.seg
	if _, err := b.begin(); err != nil {
		return wrap("store", s.name, err)
	}
	defer s.end("store", debug.SetPanicOnFault(true), &err)
	if err := s.lock(ctx); err != nil {
		return wrap("store", s.name, err)
	}
	defer s.unlock()
	w := s.m.Peers.Words
	if image := int(s.head.ImageOff); image != 0 {
		if s.extent.size > s.plan.size {
			s.copyShared(image, 0, "")
		}
		s.storeLocal(image, mem.Bytes(v))
		step.Reach(step.StoreImage)
		s.setOdd()
		step.Reach(step.StoreOdd)
		s.copyShared(0, image, step.StoreWord)
	} else {
		s.setOdd()
		s.storeLocal(0, mem.Bytes(v))
	}
	step.Reach(step.StoreCopy)
	s.setEven()
	wait.Wake(s.m, &w.SeqArmed)
	return nil
}

// Version counts the changes of the value by Update and Store; it never goes back while the segment
// exists. An Update that failed may count too. It is 0 after Close, for foreign segments, and where
// somebody truncated the file.
func (b *Box[T]) Version() (n uint64) {
	s := b.seg
	if s.head == nil || !s.m.Pin() {
		return 0
	}
	defer s.m.Unpin()
	if s.m.Guard(func() { n = s.m.Peers.Words.Seq.Load() / 2 }) != nil {
		return 0
	}
	return n
}

// Wait waits until Version is not seen any more. It sleeps meanwhile; changes that follow each other
// fast may be one for it. Whose death made the value fall back to what it was may wake it as well.
// The errors are ErrClosed, when the box is closed meanwhile, and ctx's.
func (b *Box[T]) Wait(ctx context.Context, seen uint64) (err error) {
	s := b.seg
	if s.head == nil {
		return wrap("wait", s.name, fmt.Errorf("%w: it does not tell of changes", ErrForeign))
	}
	if !s.m.Pin() {
		return wrap("wait", s.name, ErrClosed)
	}
	defer s.end("wait", debug.SetPanicOnFault(true), &err)
	w := s.m.Peers.Words
	if w.Seq.Load()/2 != seen {
		return nil
	}
	err = wait.Until(ctx, s.m, &w.SeqArmed, func() bool { return w.Seq.Load()/2 != seen }, wait.Options{})
	return wrap("wait", s.name, err)
}

// Watch yields the value, and again each time it has changed by Update or Store: always the latest,
// so that a slow loop misses what came between. It ends with an error: ctx's, ErrClosed when the box is
// closed, or one of Load's.
func (b *Box[T]) Watch(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			seen := b.Version()
			v, err := b.Load(ctx)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			if !yield(v, nil) {
				return
			}
			if err := b.Wait(ctx, seen); err != nil {
				var none T
				yield(none, err)
				return
			}
		}
	}
}
