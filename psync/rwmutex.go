package psync

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// MaxReaders is how many attachments can hold an [RWMutex] for reading at a time, each with any
// number of goroutines. One more waits.
const MaxReaders = 14

// An RWMutex is a lock for one writer or many readers that survives the death of its holders. Its
// zero value is unlocked. A writer that waits comes before new readers, so a goroutine that reads
// must not ask to read again. All methods may be called by several goroutines and processes at once.
//
// A reader that dies holds nothing any more. A writer that dies, also one that was still
// waiting for readers, leaves [ErrOwnerDied] to readers and writers, until [RWMutex.Recover].
//
// A reader publishes its mark, then looks at the writer's word; a writer sets the word, then looks
// at the marks.
type RWMutex struct {
	_       noCopy
	w       robust.Word   // of the writer
	drained atomic.Uint32 // armed word of those who wait for a mark to go
	_       atomic.Uint32
	marks   [MaxReaders]atomic.Uint64
}

// A mark is the id of an attachment, whether somebody wants to be woken when the mark goes, and how
// many goroutines read. It is changed as a whole.
type mark uint64

const flag mark = 1 << 31

func (k mark) id() format.ID { return format.ID(k >> 32) }
func (k mark) count() uint32 { return uint32(k &^ flag) }
func (k mark) less() mark { // one reader fewer
	if k.count() <= 1 {
		return 0
	}
	return k - 1
}

// Lock locks the mutex for writing, as [Mutex.Lock].
func (rw *RWMutex) Lock(ctx context.Context) error {
	o, err := robust.Of(rw)
	if err != nil {
		return err
	}
	if !rw.w.TryFast(o) {
		if _, err := robust.Acquire(ctx, o, &rw.w.Word, &rw.w.Armed, robust.Mark); err != nil {
			return err
		}
	}
	return rw.drain(ctx, o)
}

// drain waits until nobody reads; the writer's word is held, and freed if it fails.
func (rw *RWMutex) drain(ctx context.Context, o robust.Object) error {
	step.Reach(step.WriteWord)
	if !rw.unread() {
		if err := rw.await(ctx, o, rw.unread); err != nil {
			_ = robust.Release(o, &rw.w.Word, &rw.w.Armed)
			return err
		}
	}
	robust.Acquired(o, &rw.drained)
	step.Reach(step.WriteTaken)
	return nil
}

func (rw *RWMutex) unread() bool {
	for i := range rw.marks {
		if rw.marks[i].Load() != 0 {
			return false
		}
	}
	return true
}

// await waits for marks to go until enough holds.
func (rw *RWMutex) await(ctx context.Context, o robust.Object, enough func() bool) error {
	if err := o.Pin(); err != nil {
		return err
	}
	defer o.Unpin()
	if wait.Spin(o.M, &rw.drained, enough) {
		return nil
	}
	for {
		alive := rw.sweep(o)
		if enough() {
			return nil
		}
		step.Reach(step.WriteFlag)
		ready := func() bool { return enough() || !rw.flagged() }
		err := wait.Until(ctx, o.M, &rw.drained, ready, wait.Options{
			Look:   func() bool { return len(rw.sweep(o)) < len(alive) },
			Watch:  alive,
			NoSpin: true,
		})
		if err != nil {
			return err
		}
	}
}

// flagged reports whether every mark that goes wakes those who wait.
func (rw *RWMutex) flagged() bool {
	for i := range rw.marks {
		if k := mark(rw.marks[i].Load()); k != 0 && k&flag == 0 {
			return false
		}
	}
	return true
}

// sweep wipes out the marks of the dead, and flags the others, whose ids it returns.
func (rw *RWMutex) sweep(o robust.Object) (alive []format.ID) {
	for i := range rw.marks {
		p := &rw.marks[i]
		for {
			k := mark(p.Load())
			if k == 0 {
				break
			}
			if !o.Alive(k.id()) {
				if p.CompareAndSwap(uint64(k), 0) {
					break
				}
			} else if k&flag != 0 || p.CompareAndSwap(uint64(k), uint64(k|flag)) {
				alive = append(alive, k.id())
				break
			}
		}
	}
	return alive
}

// TryLock locks the mutex for writing if that needs no waiting, and reports whether it has.
func (rw *RWMutex) TryLock() (bool, error) {
	o, err := robust.Of(rw)
	if err != nil {
		return false, err
	}
	_, err = robust.TryAcquire(o, &rw.w.Word, &rw.w.Armed, robust.Mark)
	if errors.Is(err, ErrNotHeld) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !rw.unread() {
		if err := o.Pin(); err != nil {
			return false, err
		}
		defer o.Unpin()
		if len(rw.sweep(o)) > 0 {
			return false, robust.Release(o, &rw.w.Word, &rw.w.Armed)
		}
	}
	robust.Acquired(o, &rw.drained)
	return true, nil
}

// Unlock ends Lock. [ErrNotHeld]: this attachment has not locked the mutex for writing.
func (rw *RWMutex) Unlock() error {
	o, err := robust.Of(rw)
	if err != nil {
		return err
	}
	return robust.Release(o, &rw.w.Word, &rw.w.Armed)
}

// Recover reopens a mutex whose writer died, as [Mutex.Recover], when nobody reads any more.
func (rw *RWMutex) Recover(ctx context.Context, repair func() error) error {
	o, err := robust.Of(rw)
	if err != nil {
		return err
	}
	return robust.Recover(o, &rw.w.Word, &rw.w.Armed, func() error {
		if !rw.unread() {
			if err := rw.await(ctx, o, rw.unread); err != nil {
				return err
			}
		}
		robust.Acquired(o, &rw.drained)
		return repair()
	})
}

// RLock locks the mutex for reading, and waits as long as a writer holds it or waits for it and
// lives. [ErrOwnerDied]: a writer died.
func (rw *RWMutex) RLock(ctx context.Context) error {
	o, err := robust.Of(rw)
	if err != nil {
		return err
	}
	if done, _ := rw.tryRLock(o); done {
		return nil
	}
	if err := o.Pin(); err != nil {
		return err
	}
	defer o.Unpin()
	for spun := false; ; {
		done, full := rw.tryRLock(o)
		if done {
			return nil
		}
		if full {
			if err := rw.await(ctx, o, func() bool { return rw.room(o.Me) }); err != nil {
				return err
			}
			continue
		}
		free, err := robust.Free(o, &rw.w.Word, &rw.w.Armed)
		if err != nil {
			return err
		}
		if free {
			continue
		}
		if !spun {
			spun = true
			if wait.Spin(o.M, &rw.w.Armed, func() bool { return rw.w.Word.Load() == 0 }) {
				continue
			}
		}
		if _, err := robust.Changed(ctx, o, &rw.w.Word, &rw.w.Armed); err != nil {
			return err
		}
	}
}

// tryRLock reads if there is no writer; full says that there is no room for the mark.
func (rw *RWMutex) tryRLock(o robust.Object) (done, full bool) {
	if rw.w.Word.Load() != 0 {
		return false, false
	}
	if !rw.mark(o.Me) {
		return false, true
	}
	step.Reach(step.RLockMark)
	if rw.w.Word.Load() != 0 {
		_ = rw.unmark(o)
		step.Reach(step.RLockBack)
		return false, false
	}
	robust.Acquired(o, &rw.w.Word)
	step.Reach(step.RLockTaken)
	return true, false
}

// mark adds a reader; it reports false if there is no room.
func (rw *RWMutex) mark(me format.ID) bool {
	for n := range uint32(MaxReaders) {
		p := &rw.marks[(me.Slot()+n)%MaxReaders]
		for {
			k := mark(p.Load())
			if k != 0 && (k.id() != me || k.count() == uint32(flag-1)) {
				break
			}
			if quietly(p, k, (mark(me)<<32|k)+1) {
				return true
			}
		}
	}
	return false
}

// quietly changes a reader's mark, which does not order readers among themselves: the race detector
// must not think so.
func quietly(p *atomic.Uint64, old, new mark) bool {
	robust.Hide()
	ok := p.CompareAndSwap(uint64(old), uint64(new))
	robust.Unhide()
	return ok
}

func (rw *RWMutex) room(me format.ID) bool {
	for i := range rw.marks {
		if k := mark(rw.marks[i].Load()); k == 0 || k.id() == me {
			return true
		}
	}
	return false
}

// unmark takes a reader away. Unless somebody asked to be woken, the memory is not touched after that.
func (rw *RWMutex) unmark(o robust.Object) error {
	for n := range uint32(MaxReaders) {
		p := &rw.marks[(o.Me.Slot()+n)%MaxReaders]
		for {
			k := mark(p.Load())
			if k.id() != o.Me || k.count() == 0 {
				break
			}
			if k&flag == 0 {
				if quietly(p, k, k.less()) {
					step.Reach(step.RUnlockMark)
					return nil
				}
				continue
			}
			if err := o.Join(); err != nil {
				return err
			}
			done := quietly(p, k, k.less())
			if done {
				step.Reach(step.RUnlockMark)
				wait.Wake(o.M, &rw.drained)
			}
			o.Unpin()
			if done {
				return nil
			}
		}
	}
	if o.M == nil && rw.foreign() {
		return ErrNotShared
	}
	return ErrNotHeld
}

// foreign reports whether there are marks of a segment, in ordinary memory.
func (rw *RWMutex) foreign() bool {
	for i := range rw.marks {
		if mark(rw.marks[i].Load()).id().Gen() != 0 {
			return true
		}
	}
	return false
}

// TryRLock locks the mutex for reading if that needs no waiting, and reports whether it has.
func (rw *RWMutex) TryRLock() (bool, error) {
	o, err := robust.Of(rw)
	if err != nil {
		return false, err
	}
	if done, _ := rw.tryRLock(o); done {
		return true, nil
	}
	if err := o.Pin(); err != nil {
		return false, err
	}
	defer o.Unpin()
	_, err = robust.Free(o, &rw.w.Word, &rw.w.Armed)
	return false, err
}

// RUnlock ends RLock. [ErrNotHeld]: this attachment does not read.
func (rw *RWMutex) RUnlock() error {
	o, err := robust.Of(rw)
	if err != nil {
		return err
	}
	robust.Releasing(o, &rw.drained)
	return rw.unmark(o)
}
