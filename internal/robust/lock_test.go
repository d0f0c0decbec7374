package robust_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait/waittest"
)

// steps returns the points that f reaches. No other goroutine runs meanwhile.
func steps(f func()) (reached []step.Point) {
	step.Hook(func(p step.Point) { reached = append(reached, p) })
	defer step.Hook(nil)
	f()
	return reached
}

func TestAcquire(t *testing.T) {
	p := newPeers(t, 2)
	a, b := p[0], p[1]
	for _, mode := range []robust.Mode{robust.Mark, robust.TakeOver} {
		died, err := a.acquire(background, mode)
		if died || err != nil {
			t.Fatal(died, err)
		}
		wantWord(t, "held", &a.lock.Word, a.id())
		_, err = b.tryAcquire(mode)
		wantErr(t, "TryAcquire of what is held", err, errs.NotHeld)
		wantErr(t, "Release by another attachment", b.release(), errs.NotHeld)
		wantErr(t, "MarkDead by another attachment", b.markDead(), errs.NotHeld)
		wantWord(t, "still held", &a.lock.Word, a.id())
		wantErr(t, "Release", a.release(), nil)
		wantWord(t, "released", &a.lock.Word, free)
		wantErr(t, "Release of what is free", a.release(), errs.NotHeld)
		if died, err := b.tryAcquire(mode); died || err != nil {
			t.Fatal(died, err)
		}
		wantErr(t, "Release", b.release(), nil)
	}
}

// TestAcquireIsOneStep: without contention one compare-and-swap takes the lock, and one frees it.
func TestAcquireIsOneStep(t *testing.T) {
	a := newPeers(t, 1)[0]
	got := steps(func() {
		_, _ = a.acquire(background, robust.Mark)
		_ = a.release()
	})
	if want := []step.Point{step.LockTaken, step.UnlockFree}; !slices.Equal(got, want) {
		t.Errorf("reached %v, want %v", got, want)
	}
	if got := a.lock.Armed.Load(); got != 0 {
		t.Errorf("armed is %d although there was no waiter", got)
	}
}

// TestWaitersBit: a waiter sets the bit in the holder's word, gets the lock after Release, and the
// word ends free.
func TestWaitersBit(t *testing.T) {
	p := newPeers(t, 3)
	a := p[0]
	if _, err := a.acquire(background, robust.Mark); err != nil {
		t.Fatal(err)
	}
	var all []<-chan result
	for _, w := range p[1:] {
		all = append(all, start(func() (bool, error) {
			died, err := w.acquire(background, robust.Mark)
			if err == nil {
				err = w.release()
			}
			return died, err
		}))
	}
	eventually(t, "a waiter sets the waiters bit", func() bool { return a.lock.Word.Load() == a.id()|waiters })
	wantErr(t, "Release with waiters", a.release(), nil)
	for _, done := range all {
		if r := await(t, "a waiter gets the lock", done); r.died || r.err != nil {
			t.Errorf("a waiter: %+v", r)
		}
	}
	wantWord(t, "after all", &a.lock.Word, free)
}

// TestReleaseWithWaiters: the word is free before waiters are woken.
func TestReleaseWithWaiters(t *testing.T) {
	a := newPeers(t, 1)[0]
	a.lock.Word.Store(a.id() | waiters)
	got := steps(func() { wantErr(t, "Release", a.release(), nil) })
	if want := []step.Point{step.UnlockBegin, step.UnlockFreed, step.UnlockWoken}; !slices.Equal(got, want) {
		t.Errorf("reached %v, want %v", got, want)
	}
	wantWord(t, "released", &a.lock.Word, free)
}

// TestBitWithoutHolder: a waiters bit without a holder is taken along.
func TestBitWithoutHolder(t *testing.T) {
	a := newPeers(t, 1)[0]
	a.lock.Word.Store(waiters)
	if died, err := a.acquire(background, robust.Mark); died || err != nil {
		t.Fatal(died, err)
	}
	wantWord(t, "held", &a.lock.Word, a.id()|waiters)
	wantErr(t, "Release", a.release(), nil)
}

func TestAcquireCanceled(t *testing.T) {
	p := newPeers(t, 2)
	a, b := p[0], p[1]
	if _, err := a.acquire(background, robust.Mark); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(background)
	done := start(func() (bool, error) { return b.acquire(ctx, robust.Mark) })
	eventually(t, "the waiter waits", func() bool { return a.lock.Word.Load() == a.id()|waiters })
	cancel()
	wantErr(t, "Acquire", await(t, "Acquire returns", done).err, context.Canceled)
	wantWord(t, "after the waiter left", &a.lock.Word, a.id()|waiters)
	wantErr(t, "Release", a.release(), nil)
	if _, err := b.acquire(ctx, robust.Mark); err != nil {
		t.Errorf("a free lock is not taken with a context that is done: %v", err)
	}
	wantErr(t, "Release", b.release(), nil)
}

// TestDeath: in Mark mode the lock of a dead holder is DEAD until Recover.
func TestDeath(t *testing.T) {
	p := newPeers(t, 2)
	a, b := p[0], p[1]
	if _, err := b.acquire(background, robust.Mark); err != nil {
		t.Fatal(err)
	}
	b.die()
	for range 2 {
		_, err := a.acquire(background, robust.Mark)
		wantErr(t, "Acquire", err, errs.OwnerDied)
		wantWord(t, "marked", &a.lock.Word, dead)
		_, err = a.tryAcquire(robust.Mark)
		wantErr(t, "TryAcquire", err, errs.OwnerDied)
		ok, err := robust.Free(a.o, &a.lock.Word, &a.lock.Armed)
		wantErr(t, "Free", err, errs.OwnerDied)
		if ok {
			t.Error("Free reports that the lock of a dead holder is free")
		}
		wantErr(t, "Release", a.release(), errs.NotHeld)
	}
	ran := 0
	wantErr(t, "Recover", a.recover(func() error {
		ran++
		wantWord(t, "in Recover", &a.lock.Word, a.id())
		return nil
	}), nil)
	wantWord(t, "recovered", &a.lock.Word, free)
	wantErr(t, "Recover of what is free", a.recover(func() error { ran++; return nil }), nil)
	if ran != 1 {
		t.Errorf("the repair ran %d times", ran)
	}
}

// TestDeathUnseen: Recover does not need another call that marks the word first.
func TestDeathUnseen(t *testing.T) {
	p := newPeers(t, 2)
	a, b := p[0], p[1]
	if _, err := b.acquire(background, robust.Mark); err != nil {
		t.Fatal(err)
	}
	b.die()
	ran := false
	wantErr(t, "Recover", a.recover(func() error { ran = true; return nil }), nil)
	if !ran {
		t.Error("the repair did not run")
	}
	wantWord(t, "recovered", &a.lock.Word, free)
}

// TestDeathMarks: which points marking and recovering reach.
func TestDeathMarks(t *testing.T) {
	p := newPeers(t, 2)
	a, b := p[0], p[1]
	_, _ = b.acquire(background, robust.Mark)
	b.die()
	got := steps(func() {
		_, err := a.tryAcquire(robust.Mark)
		wantErr(t, "TryAcquire", err, errs.OwnerDied)
		wantErr(t, "Recover", a.recover(func() error { return fs.ErrInvalid }), fs.ErrInvalid)
		wantErr(t, "Recover", a.recover(func() error { return nil }), nil)
	})
	want := []step.Point{
		step.LockDead, step.LockDeadWake,
		step.RecoverTaken, step.UnlockBegin, step.RecoverFail, step.UnlockWoken,
		step.RecoverTaken, step.RecoverRan, step.UnlockFree,
	}
	if !slices.Equal(got, want) {
		t.Errorf("reached %v\nwant    %v", got, want)
	}
}

func TestRecoverFails(t *testing.T) {
	a := newPeers(t, 1)[0]
	a.lock.Word.Store(dead)
	own := errors.New("own")
	if err := a.recover(func() error { return own }); err != own {
		t.Errorf("Recover: %v, want the repair's error", err)
	}
	wantWord(t, "after a failure", &a.lock.Word, dead)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not pass")
			}
		}()
		_ = a.recover(func() error { panic("own") })
	}()
	wantWord(t, "after a panic", &a.lock.Word, dead)
}

// TestRecoverOfLiving: a lock that a living attachment holds is not recovered.
func TestRecoverOfLiving(t *testing.T) {
	p := newPeers(t, 2)
	for _, holder := range p {
		_, _ = holder.acquire(background, robust.Mark)
		wantErr(t, "Recover", p[0].recover(func() error { t.Error("the repair ran"); return nil }), nil)
		wantWord(t, "still held", &p[0].lock.Word, holder.id())
		wantErr(t, "Release", holder.release(), nil)
	}
}

// TestTakeOver: in TakeOver mode the next in line gets the lock of a dead holder and is told once.
// The waiters bit stays, since the waiters still wait.
func TestTakeOver(t *testing.T) {
	for name, acquire := range map[string]func(*peer) (bool, error){
		"Acquire":    func(p *peer) (bool, error) { return p.acquire(background, robust.TakeOver) },
		"TryAcquire": func(p *peer) (bool, error) { return p.tryAcquire(robust.TakeOver) },
	} {
		p := newPeers(t, 2)
		a, b := p[0], p[1]
		b.lock.Word.Store(b.id() | waiters)
		b.die()
		if died, err := acquire(a); !died || err != nil {
			t.Errorf("%s: %v, %v", name, died, err)
		}
		wantWord(t, name, &a.lock.Word, a.id()|waiters)
		wantErr(t, "Release", a.release(), nil)
		if died, err := acquire(a); died || err != nil {
			t.Errorf("the second %s: %v, %v", name, died, err)
		}
		wantErr(t, "MarkDead", a.markDead(), nil)
		wantWord(t, "MarkDead", &a.lock.Word, dead)
		if died, err := acquire(a); !died || err != nil {
			t.Errorf("%s after MarkDead: %v, %v", name, died, err)
		}
		wantErr(t, "Release", a.release(), nil)
	}
}

// TestDeathWhileWaiting: a waiter sees that the holder dies.
func TestDeathWhileWaiting(t *testing.T) {
	for _, mode := range []robust.Mode{robust.Mark, robust.TakeOver} {
		p := newPeers(t, 2)
		a, b := p[0], p[1]
		if _, err := b.acquire(background, mode); err != nil {
			t.Fatal(err)
		}
		done := start(func() (bool, error) { return a.acquire(background, mode) })
		eventually(t, "the waiter waits", func() bool { return a.lock.Word.Load() == b.id()|waiters })
		b.die()
		switch r := await(t, "the waiter sees the death", done); mode {
		case robust.Mark:
			wantErr(t, "Acquire", r.err, errs.OwnerDied)
			wantWord(t, "Mark", &a.lock.Word, dead)
		case robust.TakeOver:
			if !r.died || r.err != nil {
				t.Errorf("TakeOver: %+v", r)
			}
			wantWord(t, "TakeOver", &a.lock.Word, a.id()|waiters)
		}
	}
}

// TestMarkDeadWakes: waiters of a holder that gives the value up see it at once.
func TestMarkDeadWakes(t *testing.T) {
	p := newPeers(t, 2)
	a, b := p[0], p[1]
	if _, err := b.acquire(background, robust.Mark); err != nil {
		t.Fatal(err)
	}
	done := start(func() (bool, error) { return a.acquire(background, robust.Mark) })
	eventually(t, "the waiter waits", func() bool { return a.lock.Word.Load() == b.id()|waiters })
	wantErr(t, "MarkDead", b.markDead(), nil)
	wantErr(t, "Acquire", await(t, "the waiter is woken", done).err, errs.OwnerDied)
}

// TestSlotReused: a dead holder's slot has a new attachment. The generation tells them apart.
func TestSlotReused(t *testing.T) {
	p := newPeers(t, 2)
	a, b := p[0], p[1]
	_, _ = b.acquire(background, robust.Mark)
	b.die()
	c := attach(t, a.path, waittest.ReadWrite)
	if c.o.Me.Slot() != b.o.Me.Slot() || c.o.Me == b.o.Me {
		t.Fatalf("the new attachment is %v, the dead one was %v", c.o.Me, b.o.Me)
	}
	_, err := a.acquire(background, robust.Mark)
	wantErr(t, "Acquire", err, errs.OwnerDied)
	wantErr(t, "Release by the new attachment", c.release(), errs.NotHeld)
}

// TestCloseWhileWaiting: a waiter whose own attachment closes returns.
func TestCloseWhileWaiting(t *testing.T) {
	p := newPeers(t, 2)
	a, b := p[0], p[1]
	if _, err := b.acquire(background, robust.Mark); err != nil {
		t.Fatal(err)
	}
	all := []<-chan result{}
	for range 3 { // one that contends, the others in turn behind it
		// A call that begins is pinned, as in the packages above: Close waits for it.
		if err := a.o.Pin(); err != nil {
			t.Fatal(err)
		}
		all = append(all, start(func() (bool, error) {
			defer a.o.Unpin()
			return a.acquire(background, robust.Mark)
		}))
	}
	eventually(t, "a waiter waits", func() bool { return b.lock.Word.Load() == b.id()|waiters })
	a.die()
	for _, done := range all {
		wantErr(t, "Acquire", await(t, "the waiter returns", done).err, errs.Closed)
	}
	wantErr(t, "Release", b.release(), nil)
}

func TestFree(t *testing.T) {
	p := newPeers(t, 2)
	a, b := p[0], p[1]
	if ok, err := robust.Free(a.o, &a.lock.Word, &a.lock.Armed); !ok || err != nil {
		t.Errorf("a free lock: %v, %v", ok, err)
	}
	a.lock.Word.Store(format.WaitersBit)
	if ok, err := robust.Free(a.o, &a.lock.Word, &a.lock.Armed); !ok || err != nil {
		t.Errorf("a lock that was left to those that wait: %v, %v", ok, err)
	}
	wantWord(t, "left to those that wait", &a.lock.Word, format.WaitersBit)
	_, _ = b.acquire(background, robust.Mark)
	if ok, err := robust.Free(a.o, &a.lock.Word, &a.lock.Armed); ok || err != nil {
		t.Errorf("a held lock: %v, %v", ok, err)
	}
	if ok, err := a.o.Alive(b.o.Me), a.o.Alive(a.o.Me); !ok || !err {
		t.Error("a living attachment is not alive")
	}
}

func TestOrdinaryMemory(t *testing.T) {
	lock := new(robust.Lock)
	o, err := robust.Of(lock)
	if err != nil || o.M != nil || o.Me != format.Local {
		t.Fatal(o, err)
	}
	if !robust.TryFast(o, &lock.Word) || robust.TryFast(o, &lock.Word) {
		t.Fatal("TryFast")
	}
	done := start(func() (bool, error) { return robust.Acquire(background, o, &lock.Word, &lock.Armed, robust.Mark) })
	eventually(t, "the waiter waits", func() bool { return lock.Word.Load()&waiters != 0 })
	wantErr(t, "Release", robust.Release(o, &lock.Word, &lock.Armed), nil)
	if r := await(t, "the waiter gets the lock", done); r.died || r.err != nil {
		t.Errorf("Acquire: %+v", r)
	}
	if !o.Alive(format.Local) || o.Alive(format.MakeID(1, 1)) {
		t.Error("in ordinary memory only this process is alive")
	}
}

// TestNotShared: a lock that an attachment holds was copied into ordinary memory.
func TestNotShared(t *testing.T) {
	lock := new(robust.Lock)
	lock.Word.Store(uint32(format.MakeID(1, 3)))
	o, _ := robust.Of(lock)
	_, err := robust.Acquire(background, o, &lock.Word, &lock.Armed, robust.Mark)
	wantErr(t, "Acquire", err, errs.NotShared)
	_, err = robust.TryAcquire(o, &lock.Word, &lock.Armed, robust.TakeOver)
	wantErr(t, "TryAcquire", err, errs.NotShared)
	_, err = robust.Free(o, &lock.Word, &lock.Armed)
	wantErr(t, "Free", err, errs.NotShared)
	wantErr(t, "Release", robust.Release(o, &lock.Word, &lock.Armed), errs.NotShared)
	wantErr(t, "Recover", robust.Recover(o, &lock.Word, &lock.Armed, nil), errs.NotShared)
}

// TestOf: where a lock can be, and where not.
func TestOf(t *testing.T) {
	a := newPeers(t, 1)[0]
	o, err := robust.Of(a.lock)
	if err != nil || o != a.o {
		t.Errorf("%v, %v, want %v", o, err, a.o)
	}
	if id := robust.FastID(a.lock); id != a.id() && !robust.RaceEnabled {
		t.Errorf("FastID is %#x, want %#x", id, a.id())
	}
	if id := robust.KnownID(a.lock); id != a.id() && !robust.RaceEnabled {
		t.Errorf("KnownID is %#x, want %#x", id, a.id())
	}
	if id := robust.KnownID(new(robust.Lock)); id != 0 {
		t.Errorf("KnownID in ordinary memory is %#x", id)
	}
	path := a.path
	for how, want := range map[waittest.How]error{
		waittest.ReadWish: errs.ReadOnly, waittest.ReadPermission: errs.ReadOnly, waittest.Foreign: errors.ErrUnsupported,
	} {
		p := attach(t, path, how)
		_, err := robust.Of(p.lock)
		wantErr(t, "Of", err, want)
		if id := robust.FastID(p.lock) | robust.KnownID(p.lock); id != 0 {
			t.Errorf("FastID or KnownID is %#x, want 0", id)
		}
	}
	if robust.RaceEnabled {
		return // there a retired mapping is not remembered
	}
	b := attach(t, path, waittest.ReadWrite)
	b.die()
	_, err = robust.Of(b.lock)
	wantErr(t, "Of a lock in a retired mapping", err, errs.Closed)
	if id := robust.FastID(b.lock) | robust.KnownID(b.lock); id != 0 {
		t.Errorf("FastID or KnownID is %#x, want 0", id)
	}
}

// TestPinned: a call that ends another one can still pin the mapping while Close waits.
func TestPinned(t *testing.T) {
	a := newPeers(t, 1)[0]
	if err := a.o.Pin(); err != nil {
		t.Fatal(err)
	}
	closed := make(chan bool)
	go func() { a.die(); close(closed) }()
	eventually(t, "Close has begun", a.M.Closed)
	wantErr(t, "Pin", a.o.Pin(), errs.Closed)
	wantErr(t, "PinNested", a.o.PinNested(), nil)
	a.o.Unpin()
	a.o.Unpin()
	await(t, "Close returns", closed)
	wantErr(t, "PinNested", a.o.PinNested(), errs.Closed)
	var nowhere robust.Object
	wantErr(t, "Pin of ordinary memory", errors.Join(nowhere.Pin(), nowhere.PinNested()), nil)
	nowhere.Unpin()
}
