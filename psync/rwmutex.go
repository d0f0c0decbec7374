package psync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// MaxReaders is how many attachments can hold an [RWMutex] for reading at a time, each with any
// number of goroutines. A further attachment gets [ErrNoRoom].
const MaxReaders = 30

var errReaders = fmt.Errorf("%w: %d attachments read (psync.MaxReaders); try again when one has "+
	"unlocked, or use Box.View, which has no such limit", errs.NoRoom, MaxReaders)

// An RWMutex is a lock for one writer or many readers that survives the death of its holders. The
// zero value is unlocked. Several goroutines and processes may call its methods at once.
//
// A waiting writer comes before new readers. So a goroutine that holds the mutex for reading must
// not call RLock again: it may wait for a writer that waits for it. Once in 1 ms a writer that
// unlocks leaves the mutex to one that waits, as it is with [Mutex]: a goroutine that keeps it for
// 1 ms or longer, and locks it again at once, takes turns with writers and readers.
//
// The marks of a reader that died are removed. When a writer died, also while it waited for
// readers, Lock and RLock return [ErrOwnerDied] until [RWMutex.Recover] has succeeded.
type RWMutex struct {
	// A reader stores its mark, then loads the writer's word. A writer stores the word, then loads
	// the marks. So at least one of the two sees the other.
	_       noCopy
	w       robust.Lock   // of the writer
	drained atomic.Uint32 // armed word for waiters until a mark is removed
	_       atomic.Uint32
	marks   [MaxReaders]atomic.Uint64
}

// A mark is one attachment that reads. It is changed as a whole:
//
//	bits 32..63  id of the attachment
//	bit  31      wakeBit
//	bits 0..30   number of goroutines that read
type mark uint64

// wakeBit asks the reader to wake waiters after it has removed the mark.
const wakeBit mark = 1 << 31

func (k mark) id() format.ID { return format.ID(k >> 32) }
func (k mark) count() uint32 { return uint32(k &^ wakeBit) }

// withoutOne is the mark with one reader less; it is 0 after the last.
func (k mark) withoutOne() mark {
	if k.count() <= 1 {
		return 0
	}
	return k - 1
}

// Lock locks the mutex for writing. It waits while other goroutines or living processes hold the
// mutex, until ctx is done. When a writer died, Lock returns [ErrOwnerDied].
func (rw *RWMutex) Lock(ctx context.Context) error {
	return fail("rwmutex lock", rw, rw.lock(ctx))
}

func (rw *RWMutex) lock(ctx context.Context) error {
	o, err := robust.ToLock(rw)
	if err != nil {
		return err
	}
	held := robust.TryFast(o, &rw.w.Word)
	if held {
		step.Reach(step.WriteWord)
	}
	if !held || !rw.noReaders() {
		err := rw.lockSlow(o, held, func() error {
			_, err := robust.Acquire(ctx, o, &rw.w.Word, &rw.w.Armed, robust.Mark|robust.One)
			return err
		}, func() error { return rw.drain(ctx, o) })
		if err != nil {
			return err
		}
	}
	robust.Acquired(o, &rw.drained)
	step.Reach(step.WriteTaken)
	return nil
}

// lockSlow takes the writer's word by acquire, unless held says that the caller has it, and waits
// by drain until no attachment reads. If that fails, or Close begins meanwhile, it frees the word
// while the memory is pinned: once unpinned the memory may vanish.
func (rw *RWMutex) lockSlow(o robust.Object, held bool, acquire, drain func() error) error {
	free := func() { _ = robust.ReleaseOne(o, &rw.w.Word, &rw.w.Armed) }
	pinned := false
	err := o.Take(func() error {
		pinned = true
		if !held {
			if err := acquire(); err != nil {
				return err
			}
			step.Reach(step.WriteWord)
		}
		if rw.noReaders() {
			return nil
		}
		err := drain()
		if err != nil {
			free()
		}
		return err
	}, free)
	if held && !pinned && o.PinNested() == nil { // Close began just after the caller took the word
		free()
		o.Unpin()
	}
	return err
}

func (rw *RWMutex) noReaders() bool {
	for i := range rw.marks {
		if rw.marks[i].Load() != 0 {
			return false
		}
	}
	return true
}

// drain waits until no attachment reads. The object is pinned.
func (rw *RWMutex) drain(ctx context.Context, o robust.Object) error {
	if wait.Spin(o.M, &rw.drained, rw.noReaders) {
		return nil
	}
	for {
		alive := rw.sweep(o)
		if rw.noReaders() {
			return nil
		}
		if err := errs.Context(ctx); err != nil { // Until may return at once
			return err
		}
		step.Reach(step.WriteFlag)
		err := wait.Until(ctx, o.M, &rw.drained, rw.noReadersOrUnasked, wait.Options{
			Probe:  func() bool { return !slices.Equal(rw.sweep(o), alive) },
			Watch:  alive,
			NoSpin: true,
		})
		if err != nil {
			return err
		}
	}
}

// noReadersOrUnasked reports whether no attachment reads, or one does that does not wake waiters.
// It looks at each mark once: between two looks a mark could go that wakes no waiter.
func (rw *RWMutex) noReadersOrUnasked() bool {
	none := true
	for i := range rw.marks {
		if k := mark(rw.marks[i].Load()); k != 0 {
			if k&wakeBit == 0 {
				return true
			}
			none = false
		}
	}
	return none
}

// sweep removes the marks of dead attachments and asks the living ones to wake waiters. It returns
// the ids of the living ones. The object is pinned.
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
			} else if k&wakeBit != 0 || p.CompareAndSwap(uint64(k), uint64(k|wakeBit)) {
				alive = append(alive, k.id())
				break
			}
		}
	}
	return alive
}

// TryLock locks the mutex for writing if it is free, and reports whether it did. It never waits.
// When a writer died, TryLock returns [ErrOwnerDied], as [Mutex.TryLock] does.
func (rw *RWMutex) TryLock() (bool, error) {
	ok, err := rw.tryLock()
	return ok, fail("rwmutex trylock", rw, err)
}

func (rw *RWMutex) tryLock() (bool, error) {
	o, err := robust.ToLock(rw)
	if err != nil {
		return false, err
	}
	held := robust.TryFast(o, &rw.w.Word)
	if !held || !rw.noReaders() {
		err := rw.lockSlow(o, held, func() error {
			_, err := robust.TryAcquire(o, &rw.w.Word, &rw.w.Armed, robust.Mark|robust.One)
			return err
		}, func() error {
			if rw.readLately(o) || len(rw.sweep(o)) > 0 {
				return ErrNotHeld
			}
			return nil
		})
		if errors.Is(err, ErrNotHeld) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	robust.Acquired(o, &rw.drained)
	return true, nil
}

// readLately reports whether an attachment reads that was alive a moment ago. The object is pinned.
func (rw *RWMutex) readLately(o robust.Object) bool {
	for i := range rw.marks {
		if k := mark(rw.marks[i].Load()); k != 0 && o.AliveLately(k.id()) {
			return true
		}
	}
	return false
}

// Unlock ends Lock. It returns [ErrNotHeld] if this attachment does not hold the mutex for writing.
func (rw *RWMutex) Unlock() error {
	return fail("rwmutex unlock", rw, rw.unlock())
}

func (rw *RWMutex) unlock() error {
	o, err := robust.Of(rw)
	if err != nil {
		return err
	}
	return robust.HandOver(o, &rw.w.Word, &rw.w.Armed)
}

// Recover reopens a mutex whose writer died, like [Mutex.Recover]. It waits until no attachment
// reads, then calls repair. If ctx is done before, Recover returns its error, and the mutex stays
// as it was.
func (rw *RWMutex) Recover(ctx context.Context, repair func() error) error {
	o, err := robust.Of(rw)
	if err != nil {
		return fail("rwmutex recover", rw, err)
	}
	c := callback{f: repair}
	err = robust.Recover(o, &rw.w.Word, &rw.w.Armed, func() error {
		if !rw.noReaders() {
			if err := rw.drain(ctx, o); err != nil {
				return err
			}
		}
		robust.Acquired(o, &rw.drained)
		return c.call()
	})
	if c.err != nil {
		return c.err
	}
	return fail("rwmutex recover", rw, err)
}

// RLock locks the mutex for reading. It waits while a living writer holds the mutex or waits for
// it, until ctx is done. When a writer died, RLock returns [ErrOwnerDied]. When [MaxReaders] other
// attachments read, RLock returns [ErrNoRoom].
func (rw *RWMutex) RLock(ctx context.Context) error {
	id := robust.KnownID(rw)
	if id == 0 {
		id = robust.FastID(rw)
	}
	if id != 0 && rw.markFast(format.ID(id)) {
		return nil
	}
	return rw.rlockSlow(ctx)
}

func (rw *RWMutex) rlockSlow(ctx context.Context) error {
	o, err := robust.ToLock(rw)
	if err == nil {
		if done, _ := rw.tryMark(o); done {
			return nil
		}
		err = rw.rlock(ctx, o)
	}
	return fail("rwmutex rlock", rw, err)
}

// markFast is tryMark in the usual case: there is no writer, and the mark that me looks at first is
// free or its own.
func (rw *RWMutex) markFast(me format.ID) bool {
	if rw.w.Word.Load() != 0 {
		return false
	}
	p := &rw.marks[me.Slot()%MaxReaders]
	k := mark(p.Load())
	if k != 0 && (k.id() != me || k.count() == uint32(wakeBit-1)) ||
		!p.CompareAndSwap(uint64(k), uint64((mark(me)<<32|k)+1)) {
		return false
	}
	step.Reach(step.RLockMark)
	if rw.w.Word.Load() == 0 {
		step.Reach(step.RLockTaken)
		return true
	}
	if o, err := robust.Of(rw); err == nil {
		_ = rw.removeReader(o)
		step.Reach(step.RLockBack)
	}
	return false
}

func (rw *RWMutex) rlock(ctx context.Context, o robust.Object) error {
	return o.Take(
		func() error { return rw.waitForWriter(ctx, o) },
		func() { _ = rw.removeReader(o) },
	)
}

// waitForWriter is rlock with the object pinned. A reader that was woken may be the only one: it
// wakes others, each of which does so too.
func (rw *RWMutex) waitForWriter(ctx context.Context, o robust.Object) error {
	for spun, waited := false, false; ; {
		done, full := rw.tryMark(o)
		if full && rw.makeRoom(o) {
			continue
		}
		if done || full {
			if waited {
				robust.Unreserve(&rw.w.Word)
				wait.WakeN(o.M, &rw.w.Armed, robust.MoreReaders)
			}
			if full {
				return errReaders
			}
			return nil
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
		if _, err := robust.Freed(ctx, o, &rw.w.Word, &rw.w.Armed); err != nil {
			return err
		}
		waited = true
	}
}

// tryMark locks for reading if there is no writer. full reports that every mark is in use by
// another attachment.
func (rw *RWMutex) tryMark(o robust.Object) (done, full bool) {
	if rw.hasWriter() {
		return false, false
	}
	if !rw.addReader(o.Me) {
		return false, true
	}
	step.Reach(step.RLockMark)
	if rw.hasWriter() {
		_ = rw.removeReader(o)
		step.Reach(step.RLockBack)
		return false, false
	}
	robust.Acquired(o, &rw.w.Word)
	step.Reach(step.RLockTaken)
	return true, false
}

// hasWriter reports whether an attachment holds the writer's word, or it is DEAD. A word that the
// last writer has left to those that wait is free.
func (rw *RWMutex) hasWriter() bool {
	return format.ID(rw.w.Word.Load()&^format.WaitersBit) != format.NoID
}

// addReader counts one more reader in the mark of me. It reports false if no mark is free.
func (rw *RWMutex) addReader(me format.ID) bool {
	for n := range uint32(MaxReaders) {
		p := &rw.marks[(me.Slot()+n)%MaxReaders]
		for {
			k := mark(p.Load())
			if k != 0 && (k.id() != me || k.count() == uint32(wakeBit-1)) {
				break
			}
			if swapMark(p, k, (mark(me)<<32|k)+1) {
				return true
			}
		}
	}
	return false
}

// swapMark is a compare-and-swap hidden from the race detector: marks do not order readers.
func swapMark(p *atomic.Uint64, from, to mark) bool {
	robust.Hide()
	ok := p.CompareAndSwap(uint64(from), uint64(to))
	robust.Unhide()
	return ok
}

// makeRoom reports whether there is a mark for the attachment, after it has removed those of dead
// attachments. The object is pinned.
func (rw *RWMutex) makeRoom(o robust.Object) bool {
	for i := range rw.marks {
		p := &rw.marks[i]
		switch k := mark(p.Load()); {
		case k == 0 || k.id() == o.Me && k.count() < uint32(wakeBit-1):
			return true
		case !o.Alive(k.id()):
			p.CompareAndSwap(uint64(k), 0) // or another attachment has removed it
			return true
		}
	}
	return false
}

// removeReader undoes addReader. Without wakeBit it does not touch the memory after the swap: the
// next holder may close the mapping. With wakeBit it pins the mapping first.
func (rw *RWMutex) removeReader(o robust.Object) error {
	for n := range uint32(MaxReaders) {
		p := &rw.marks[(o.Me.Slot()+n)%MaxReaders]
		for {
			k := mark(p.Load())
			if k.id() != o.Me || k.count() == 0 {
				break
			}
			if k&wakeBit == 0 {
				if swapMark(p, k, k.withoutOne()) {
					step.Reach(step.RUnlockMark)
					return nil
				}
				continue
			}
			if err := o.PinNested(); err != nil {
				return err
			}
			done := swapMark(p, k, k.withoutOne())
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
	if o.M == nil && rw.hasForeignMark() {
		return ErrNotShared
	}
	return ErrNotHeld
}

// hasForeignMark reports whether an attachment of a segment has a mark. In ordinary memory that
// tells that the mutex was copied out of the segment.
func (rw *RWMutex) hasForeignMark() bool {
	for i := range rw.marks {
		if mark(rw.marks[i].Load()).id().Gen() != 0 {
			return true
		}
	}
	return false
}

// TryRLock locks the mutex for reading if that needs no waiting, and reports whether it did. When a
// writer died, TryRLock returns [ErrOwnerDied], and [ErrNoRoom] as RLock does.
func (rw *RWMutex) TryRLock() (bool, error) {
	o, err := robust.ToLock(rw)
	if err != nil {
		return false, fail("rwmutex tryrlock", rw, err)
	}
	done, full := rw.tryMark(o)
	if done {
		return true, nil
	}
	if err := o.Pin(); err != nil {
		return false, fail("rwmutex tryrlock", rw, err)
	}
	defer o.Unpin()
	for full {
		if !rw.makeRoom(o) {
			return false, fail("rwmutex tryrlock", rw, errReaders)
		}
		if done, full = rw.tryMark(o); done {
			return true, nil
		}
	}
	if robust.HeldLately(o, &rw.w.Word) {
		return false, nil
	}
	_, err = robust.Free(o, &rw.w.Word, &rw.w.Armed)
	return false, fail("rwmutex tryrlock", rw, err)
}

// RUnlock ends RLock. It returns [ErrNotHeld] if this attachment does not hold the mutex for
// reading.
func (rw *RWMutex) RUnlock() error {
	known := robust.KnownID(rw)
	if known == 0 {
		known = robust.FastID(rw)
	}
	if id := format.ID(known); id != format.NoID {
		p := &rw.marks[id.Slot()%MaxReaders] // the one that markFast has used
		k := mark(p.Load())
		if k.id() == id && k&wakeBit == 0 && k.count() > 0 &&
			p.CompareAndSwap(uint64(k), uint64(k.withoutOne())) {
			step.Reach(step.RUnlockMark)
			return nil
		}
	}
	return rw.runlockSlow()
}

func (rw *RWMutex) runlockSlow() error {
	o, err := robust.Of(rw)
	if err == nil {
		robust.Releasing(o, &rw.drained)
		err = rw.removeReader(o)
	}
	return fail("rwmutex runlock", rw, err)
}
