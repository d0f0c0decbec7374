package psync_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
)

// soon is a context for what is not to wait for ever.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestPromiseKept: a Set that is still waking ends no promise that is made for the next time.
func TestPromiseKept(t *testing.T) {
	path, _, a := newSeg(t)
	sb, b := again(t, path)
	_, c := again(t, path)
	var once sync.Once
	step.Hook(func(p step.Point) {
		if p == step.EventSet {
			once.Do(func() {
				wantErr(t, "Reset", b.ev[0].Reset(), nil)
				wantErr(t, "Promise", b.ev[0].Promise(), nil)
			})
		}
	})
	defer step.Hook(nil)
	wantErr(t, "Set", a.ev[0].Set(), nil)
	sb.Close() // B dies before it sets the event
	wantErr(t, "Wait", c.ev[0].Wait(soon(t)), psync.ErrOwnerDied)

	// A promise at an event that is set is for the next time, until its maker calls Set.
	wantErr(t, "Set", a.ev[0].Set(), nil)
	sb, b = again(t, path)
	wantErr(t, "Promise", b.ev[0].Promise(), nil)
	wantErr(t, "Set again", a.ev[0].Set(), nil)
	wantErr(t, "Reset", a.ev[0].Reset(), nil)
	sb.Close()
	wantErr(t, "Wait", c.ev[0].Wait(soon(t)), psync.ErrOwnerDied)
	wantErr(t, "Set", a.ev[0].Set(), nil)
	sb, b = again(t, path)
	wantErr(t, "Promise", b.ev[0].Promise(), nil)
	wantErr(t, "Set by its maker", b.ev[0].Set(), nil)
	wantErr(t, "Reset", a.ev[0].Reset(), nil)
	sb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	wantErr(t, "Wait", c.ev[0].Wait(ctx), context.DeadlineExceeded)
}

// TestPromiseLate: those who wait already watch an attachment that promises the event.
func TestPromiseLate(t *testing.T) {
	path, _, v := newSeg(t)
	s, p := again(t, path)
	done := make(chan error)
	go func() { done <- v.ev[0].Wait(soon(t)) }()
	time.Sleep(5 * time.Millisecond)
	wantErr(t, "Promise", p.ev[0].Promise(), nil)
	s.Close()
	wantErr(t, "Wait", <-done, psync.ErrOwnerDied)
}

// crowd attaches to path so many times.
func crowd(t *testing.T, path string, n int) (all []*value) {
	for range n {
		_, v := again(t, path)
		all = append(all, v)
	}
	return all
}

// TestNoRoomToRead: one reader too many gets an error, and no other caller waits for room.
func TestNoRoomToRead(t *testing.T) {
	path, _, v := newSeg(t)
	all := crowd(t, path, psync.MaxReaders)
	for _, r := range all {
		wantErr(t, "RLock", r.rw.RLock(soon(t)), nil)
	}
	wantErr(t, "RLock", v.rw.RLock(soon(t)), psync.ErrNoRoom)
	ok, err := v.rw.TryRLock()
	if ok {
		t.Error("TryRLock has locked")
	}
	wantErr(t, "TryRLock", err, psync.ErrNoRoom)
	wantErr(t, "a second goroutine of a reader", all[3].rw.RLock(soon(t)), nil)
	wantErr(t, "RUnlock", all[7].rw.RUnlock(), nil)
	wantErr(t, "RLock", v.rw.RLock(soon(t)), nil)

	// Those that died are in no other's way.
	s, late := again(t, path)
	wantErr(t, "RUnlock", v.rw.RUnlock(), nil)
	wantErr(t, "RLock", late.rw.RLock(soon(t)), nil)
	wantErr(t, "RLock", v.rw.RLock(soon(t)), psync.ErrNoRoom)
	s.Close()
	ok, err = v.rw.TryRLock()
	if !ok || err != nil {
		t.Errorf("TryRLock after a death: %v, %v", ok, err)
	}
}

// TestNoRoomForPermits is the same for a Semaphore.
func TestNoRoomForPermits(t *testing.T) {
	path, _, v := newSeg(t)
	wantErr(t, "SetLimit", v.sem.SetLimit(psync.MaxHolders), nil)
	all := crowd(t, path, psync.MaxHolders)
	for _, h := range all {
		wantErr(t, "Acquire", h.sem.Acquire(soon(t), 1), nil)
	}
	waits := make(chan error)
	go func() { waits <- v.sem.Acquire(soon(t), 1) }() // no permit is free
	time.Sleep(5 * time.Millisecond)
	wantErr(t, "SetLimit", v.sem.SetLimit(1000), nil)
	wantErr(t, "Acquire that waited", <-waits, psync.ErrNoRoom)
	wantErr(t, "Acquire", v.sem.Acquire(soon(t), 1), psync.ErrNoRoom)
	ok, err := v.sem.TryAcquire(1)
	if ok {
		t.Error("TryAcquire has acquired")
	}
	wantErr(t, "TryAcquire", err, psync.ErrNoRoom)
	wantErr(t, "more of a holder", all[3].sem.Acquire(soon(t), 10), nil)
	wantErr(t, "Release", all[7].sem.Release(1), nil)
	wantErr(t, "Acquire", v.sem.Acquire(soon(t), 1), nil)
}

// TestLargeRequest: a request for both permits is served beside two others that take one each, and
// hold theirs until the other one has the next, but not for longer than 50 ms.
func TestLargeRequest(t *testing.T) {
	path, _, v := newSeg(t)
	wantErr(t, "SetLimit", v.sem.SetLimit(2), nil)
	for name, small := range map[string][]*value{
		"of goroutines of the same process": {v, v},
		"of other attachments":              crowd(t, path, 2),
	} {
		t.Run(name, func(t *testing.T) {
			defer circulate(t, small)()
			for range 3 {
				wantErr(t, "Acquire of all", v.sem.Acquire(soon(t), 2), nil)
				wantErr(t, "Release", v.sem.Release(2), nil)
			}
		})
	}
}

// circulate lets two values take one permit each and hold it until the other one has the next, but
// not for longer than 50 ms, until the caller calls stop.
func circulate(t *testing.T, small []*value) (stop func()) {
	var stopped atomic.Bool
	var all sync.WaitGroup
	var turns [2]atomic.Int64 // how often each has had a permit
	for i, s := range small {
		all.Go(func() {
			for !stopped.Load() {
				other := turns[1-i].Load()
				wantErr(t, "Acquire", s.sem.Acquire(soon(t), 1), nil)
				turns[i].Add(1)
				began := time.Now()
				for turns[1-i].Load() == other && time.Since(began) < 50*time.Millisecond {
					time.Sleep(50 * time.Microsecond)
				}
				wantErr(t, "Release", s.sem.Release(1), nil)
			}
		})
	}
	time.Sleep(10 * time.Millisecond)
	return func() {
		stopped.Store(true)
		all.Wait()
	}
}

// TestRaisedLimit: a request for more than the limit reserves its permits once the limit is raised,
// although they are not free then.
func TestRaisedLimit(t *testing.T) {
	path, _, v := newSeg(t)
	wantErr(t, "SetLimit", v.sem.SetLimit(2), nil)
	defer circulate(t, crowd(t, path, 2))()
	done := make(chan error)
	go func() { done <- v.sem.Acquire(soon(t), 3) }()
	time.Sleep(20 * time.Millisecond)
	wantErr(t, "SetLimit", v.sem.SetLimit(3), nil)
	wantErr(t, "Acquire of all", <-done, nil)
	wantErr(t, "Release", v.sem.Release(3), nil)
}

// TestUnservable: a request that waits is in the way of no other that can be served for longer than
// its reservation, also where both wait.
func TestUnservable(t *testing.T) {
	path, _, v := newSeg(t)
	_, other := again(t, path)
	_, holder := again(t, path)
	wantErr(t, "SetLimit", v.sem.SetLimit(7), nil)
	wantErr(t, "Acquire", holder.sem.Acquire(soon(t), 5), nil)
	for name, n := range map[string]uint32{"more than is free": 5, "more than the limit": 8} {
		done := make(chan error)
		go func() { done <- v.sem.Acquire(soon(t), n) }()
		time.Sleep(5 * time.Millisecond)
		for range 5 {
			wantErr(t, "Acquire", holder.sem.Acquire(soon(t), 2), nil)
			waiting := make(chan error)
			for _, s := range []*value{v, other} {
				go func() { waiting <- s.sem.Acquire(soon(t), 1) }()
			}
			time.Sleep(time.Millisecond)
			wantErr(t, "Release", holder.sem.Release(2), nil)
			for range 2 {
				wantErr(t, name+": Acquire of what is free", <-waiting, nil)
			}
			wantErr(t, "Release", v.sem.Release(1), nil)
			wantErr(t, "Release", other.sem.Release(1), nil)
		}
		select {
		case err := <-done:
			t.Fatalf("%s: served: %v", name, err)
		default:
		}
		wantErr(t, "SetLimit", v.sem.SetLimit(13), nil)
		wantErr(t, name, <-done, nil)
		wantErr(t, "Release", v.sem.Release(n), nil)
		wantErr(t, "SetLimit", v.sem.SetLimit(7), nil)
	}
}

// TestNoPermits: a request for no permits does not wait, whatever the others do, and needs no room.
func TestNoPermits(t *testing.T) {
	path, _, v := newSeg(t)
	all := crowd(t, path, psync.MaxHolders)
	wantErr(t, "SetLimit", v.sem.SetLimit(2*psync.MaxHolders), nil)
	for _, h := range all {
		wantErr(t, "Acquire", h.sem.Acquire(soon(t), 1), nil)
	}
	var noContext context.Context
	none := func(when string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(background, 20*time.Second)
		defer cancel()
		wantErr(t, when+": Acquire of none", v.sem.Acquire(ctx, 0), nil)
		wantErr(t, when+": Acquire of none, no context", v.sem.Acquire(noContext, 0), nil)
		ok, err := v.sem.TryAcquire(0)
		if !ok || err != nil {
			t.Errorf("%s: TryAcquire of none: %v, %v", when, ok, err)
		}
		wantErr(t, when+": Release of none", v.sem.Release(0), nil)
	}
	none("no room")
	wantErr(t, "SetLimit", v.sem.SetLimit(2), nil)
	none("less than is held")
}

// reserve lets a child wait for 3 permits of 3, one of which v has, until they are reserved.
func reserve(t *testing.T, path string, v *value) *shmemtest.Child {
	wantErr(t, "SetLimit", v.sem.SetLimit(3), nil)
	wantErr(t, "Acquire", v.sem.Acquire(soon(t), 1), nil)
	c := start(t, path)
	c.Send("acquire3")
	for {
		ok, err := v.sem.TryAcquire(1)
		wantErr(t, "TryAcquire", err, nil)
		if !ok {
			// The child may have been changing the table, not waiting: let it end that.
			wantErr(t, "Release of none", v.sem.Release(0), nil)
			return c
		}
		wantErr(t, "Release", v.sem.Release(1), nil)
		time.Sleep(time.Millisecond)
	}
}

// TestReservationEnds: permits are not reserved for a process that is dead or stopped.
func TestReservationEnds(t *testing.T) {
	ends := map[string]func(c *shmemtest.Child) error{
		"dead":    func(c *shmemtest.Child) error { c.Kill(); return nil },
		"stopped": (*shmemtest.Child).Stop,
	}
	if testing.Short() {
		// Under an emulator the child is often stopped while it changes the table, which blocks all.
		delete(ends, "stopped")
	}
	for name, end := range ends {
		path, _, v := newSeg(t)
		c := reserve(t, path, v)
		wantErr(t, name, end(c), nil)
		wantErr(t, name+": Acquire", v.sem.Acquire(soon(t), 1), nil)
	}
}

// TestDo: the function runs under the lock, after a repair if the holder has died.
func TestDo(t *testing.T) {
	path, _, v := newSeg(t)
	ctx := context.Background()
	die := func() {
		s, w := again(t, path)
		wantErr(t, "Lock", w.mu.Lock(ctx), nil)
		s.Close()
	}
	no := errors.New("no")
	repaired, ran := 0, 0
	repair := func() error { repaired++; return nil }
	f := func() error {
		ran++
		if ok, err := v.mu.TryLock(); ok || err != nil {
			t.Errorf("TryLock in f: %v, %v", ok, err)
		}
		return nil
	}
	wantErr(t, "Do", v.mu.Do(ctx, repair, f), nil)
	die()
	wantErr(t, "Do without repair", v.mu.Do(ctx, nil, f), psync.ErrOwnerDied)
	wantErr(t, "Do with a repair that fails", v.mu.Do(ctx, func() error { return no }, f), no)
	if repaired != 0 || ran != 1 {
		t.Errorf("repaired %d times, ran %d times", repaired, ran)
	}
	wantErr(t, "Do", v.mu.Do(ctx, repair, f), nil)
	if repaired != 1 || ran != 2 {
		t.Errorf("after the death repaired %d times, ran %d times", repaired, ran)
	}
	if err := v.mu.Do(ctx, repair, func() error { return no }); err != no {
		t.Errorf("the error of f: %v", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = v.mu.Do(ctx, repair, func() error { panic(no) })
	}()
	wantErr(t, "Lock", v.mu.Lock(ctx), nil)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	wantErr(t, "Do, cancelled", v.mu.Do(cancelled, repair, f), context.Canceled)
	wantErr(t, "Unlock", v.mu.Unlock(), nil)
}
