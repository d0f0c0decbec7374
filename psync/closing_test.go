package psync_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
)

var closings = flag.Int("closings", 200, "tries of TestCloseRaces for each call")

// closingTries is fewer on 32 bits, where the address space of so many closed boxes would leave none
// for the arena: later tests close boxes and expect errors instead of faults.
func closingTries() int {
	if strconv.IntSize == 32 {
		return min(*closings, 5)
	}
	return *closings
}

// closing is what the tests of this file share.
type closing struct {
	Rows [3]struct {
		_    uint64
		Mu   psync.Mutex
		Cond psync.Cond
		RW   psync.RWMutex
	}
	Sem  psync.Semaphore
	Full bool
}

// pointers lead to the locks also after Close, when evaluating v.Mu faults.
type pointers struct {
	Rows [3]struct {
		Mu   *psync.Mutex
		Cond *psync.Cond
		RW   *psync.RWMutex
	}
	Sem  *psync.Semaphore
	Full *bool
}

// leadsToError reports whether a pointer into a closed box leads to an error. In race builds and on
// 32 bits it faults.
func leadsToError() bool { return !robust.RaceEnabled && strconv.IntSize == 64 }

func openClosing(t testing.TB, dir string) (*shmem.Box[closing], *pointers) {
	t.Helper()
	b, err := shmem.Open[closing]("closing", &shmem.Options{Dir: dir, Slots: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	v := b.Value()
	p := &pointers{Sem: &v.Sem, Full: &v.Full}
	for i := range v.Rows {
		r := &v.Rows[i]
		p.Rows[i].Mu, p.Rows[i].Cond, p.Rows[i].RW = &r.Mu, &r.Cond, &r.RW
	}
	return b, p
}

// A blockedCall is a call that waits for what a peer has taken by hold, until the peer calls free.
// undo undoes the call. After the end of the box in which the call was made, the peer locks and
// unlocks.
type blockedCall struct {
	hold, free   func(v *pointers) error
	call, undo   func(v *pointers) error
	lock, unlock func(v *pointers) error
}

var background = context.Background()

func blockedCalls() map[string]blockedCall {
	lock := func(v *pointers) error { return v.Rows[2].Mu.Lock(background) }
	unlock := func(v *pointers) error { return v.Rows[2].Mu.Unlock() }
	write := func(v *pointers) error { return v.Rows[1].RW.Lock(background) }
	endWrite := func(v *pointers) error { return v.Rows[1].RW.Unlock() }
	read := func(v *pointers) error { return v.Rows[1].RW.RLock(background) }
	endRead := func(v *pointers) error { return v.Rows[1].RW.RUnlock() }
	acquire := func(v *pointers) error { return v.Sem.Acquire(background, 1) }
	release := func(v *pointers) error { return v.Sem.Release(1) }
	releaseLate := func(v *pointers) error {
		// Close waits for no permit: it is free when the attachment is gone.
		if !leadsToError() {
			return nil
		}
		if err := release(v); !errors.Is(err, shmem.ErrClosed) {
			return err
		}
		return nil
	}
	return map[string]blockedCall{
		"Mutex.Lock":    {lock, unlock, lock, unlock, lock, unlock},
		"RWMutex.Lock":  {write, endWrite, write, endWrite, write, endWrite},
		"RWMutex.drain": {read, endRead, write, endWrite, write, endWrite},
		"RWMutex.RLock": {write, endWrite, read, endRead, write, endWrite},
		"Semaphore.Acquire": {
			func(v *pointers) error { return errors.Join(v.Sem.SetLimit(1), acquire(v)) },
			release, acquire, releaseLate, acquire, release,
		},
		"Cond.Wait": {
			hold: func(v *pointers) error { *v.Full = false; return nil },
			free: func(v *pointers) error {
				err := lock(v)
				*v.Full = true
				return errors.Join(err, v.Rows[2].Cond.Broadcast(), unlock(v))
			},
			call: func(v *pointers) error {
				err := lock(v)
				for err == nil && !*v.Full {
					err = v.Rows[2].Cond.Wait(background, v.Rows[2].Mu)
				}
				return err
			},
			undo: unlock, lock: lock, unlock: unlock,
		},
	}
}

// TestCloseRaces: Close begins while a call of the box waits, at about the moment at which a peer
// frees what it waits for. If the call returns nil, Close lets its goroutine unlock. The peer is
// never told of a death.
func TestCloseRaces(t *testing.T) {
	for name, c := range blockedCalls() {
		t.Run(name, func(t *testing.T) {
			dir := shmemtest.Dir(t)
			_, peer := openClosing(t, dir)
			got := 0
			for i := range closingTries() {
				if c.closeWhile(t, dir, peer, time.Duration(i%8)*20*time.Microsecond) {
					got++
				}
				if t.Failed() {
					t.Fatalf("try %d", i)
				}
			}
			t.Logf("of %d calls %d returned nil", closingTries(), got)
		})
	}
}

// closeWhile is one try. It reports whether the call returned nil.
func (c blockedCall) closeWhile(
	t *testing.T, dir string, peer *pointers, after time.Duration,
) (got bool) {
	b, v := openClosing(t, dir)
	wantErr(t, "hold", c.hold(peer), nil)
	var all sync.WaitGroup
	var once sync.Once
	waits := make(chan bool) // a call that begins after Close faults
	step.Hook(func(p step.Point) {
		if p == step.WaitInterest {
			once.Do(func() { close(waits) })
		}
	})
	defer step.Hook(nil)
	all.Go(func() {
		err := c.call(v)
		if got = err == nil; got {
			err = c.undo(v)
			wantErr(t, "unlocking what the call locked", err, nil)
		} else {
			wantErr(t, "the call", err, shmem.ErrClosed)
		}
	})
	<-waits
	time.Sleep(50 * time.Microsecond)
	all.Go(func() {
		time.Sleep(after)
		wantErr(t, "Close", b.Close(), nil)
	})
	all.Go(func() {
		time.Sleep(70 * time.Microsecond)
		wantErr(t, "free", c.free(peer), nil)
	})
	all.Wait()
	wantErr(t, "a peer's lock", c.lock(peer), nil)
	wantErr(t, "a peer's unlock", c.unlock(peer), nil)
	return got
}

// TestCloseAtLastStep: Close begins when a call has the lock and has not returned. The call frees
// the lock and returns ErrClosed.
func TestCloseAtLastStep(t *testing.T) {
	for name, c := range blockedCalls() {
		at := map[string]step.Point{
			"Mutex.Lock": step.LockSlow, "Cond.Wait": step.LockTaken,
			"RWMutex.Lock": step.LockSlow, "RWMutex.drain": step.WaitLeave, "RWMutex.RLock": step.RLockTaken,
			"Semaphore.Acquire": step.SemTaken,
		}[name]
		t.Run(name, func(t *testing.T) {
			dir := shmemtest.Dir(t)
			_, peer := openClosing(t, dir)
			b, v := openClosing(t, dir)
			m := mem.Of(v.Sem)
			wantErr(t, "hold", c.hold(peer), nil)
			closed := make(chan error, 1)
			var armed atomic.Bool
			var once sync.Once
			waits := make(chan bool) // on the way that has the step: another one took what it wants
			step.Hook(func(p step.Point) {
				if p == step.WaitInterest {
					once.Do(func() { close(waits) })
				}
				if p == at && armed.CompareAndSwap(true, false) {
					go func() { closed <- b.Close() }()
					<-m.Closing()
				}
			})
			defer step.Hook(nil)
			done := make(chan error)
			go func() { done <- c.call(v) }()
			<-waits
			armed.Store(true)
			wantErr(t, "free", c.free(peer), nil)
			err := <-done
			wantErr(t, "the call", err, shmem.ErrClosed)
			wantErr(t, "Close", <-closed, nil)
			wantErr(t, "a peer's lock", c.lock(peer), nil)
			wantErr(t, "a peer's unlock", c.unlock(peer), nil)
		})
	}
}

// TestCloseLetsUnlock: a goroutine that holds a lock when Close begins can unlock for a while, also
// where others wait for the lock. It locks nothing more.
func TestCloseLetsUnlock(t *testing.T) {
	for name, c := range blockedCalls() {
		if name == "Cond.Wait" || name == "Semaphore.Acquire" {
			continue
		}
		for _, waited := range []bool{false, true} {
			dir := shmemtest.Dir(t)
			_, peer := openClosing(t, dir)
			b, v := openClosing(t, dir)
			m := mem.Of(v.Sem)
			wantErr(t, "lock", c.call(v), nil)
			locked := make(chan error, 1)
			if waited {
				go func() { locked <- c.lock(peer) }()
				time.Sleep(10 * time.Millisecond)
			}
			closed := make(chan error, 1)
			go func() { closed <- b.Close() }()
			<-m.Closing()
			wantErr(t, name+": a lock after Close has begun", v.Rows[0].Mu.Lock(background), shmem.ErrClosed)
			err := v.Rows[0].RW.RLock(background)
			wantErr(t, name+": a lock for reading after Close has begun", err, shmem.ErrClosed)
			wantErr(t, name+": unlock after Close has begun", c.undo(v), nil)
			wantErr(t, "Close", <-closed, nil)
			if !waited {
				locked <- c.lock(peer)
			}
			wantErr(t, name+": a peer's lock", <-locked, nil)
			wantErr(t, "a peer's unlock", c.unlock(peer), nil)
		}
	}
}

// TestCloseLetsCondWait: Cond.Wait after Close has begun fails, and has unlocked the mutex.
func TestCloseLetsCondWait(t *testing.T) {
	dir := shmemtest.Dir(t)
	_, peer := openClosing(t, dir)
	b, v := openClosing(t, dir)
	m, row := mem.Of(v.Sem), v.Rows[1]
	wantErr(t, "Lock", row.Mu.Lock(background), nil)
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	<-m.Closing()
	wantErr(t, "Wait", row.Cond.Wait(background, row.Mu), shmem.ErrClosed)
	wantErr(t, "Close", <-closed, nil)
	wantErr(t, "a peer's lock", peer.Rows[1].Mu.Lock(background), nil)
	wantErr(t, "a peer's unlock", peer.Rows[1].Mu.Unlock(), nil)
}

// TestCondWaitErrors: whatever the error of Cond.Wait, the mutex is unlocked.
func TestCondWaitErrors(t *testing.T) {
	dir := shmemtest.Dir(t)
	_, v := openClosing(t, dir)
	gone, there := openClosing(t, dir)
	cond := there.Rows[0].Cond
	wantErr(t, "Close", gone.Close(), nil)
	readOnly, err := shmem.Attach[closing]("closing", &shmem.Options{Dir: dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { readOnly.Close() })
	other := &readOnly.Value().Rows[0].Cond
	cancelled, cancel := context.WithCancel(background)
	cancel()
	mu := v.Rows[0].Mu
	for name, wait := range map[string]func() error{
		"a box that is closed":    func() error { return cond.Wait(background, mu) },
		"a box that is read-only": func() error { return other.Wait(background, mu) },
		"a context that is done":  func() error { return v.Rows[0].Cond.Wait(cancelled, mu) },
	} {
		if !leadsToError() && name == "a box that is closed" {
			continue
		}
		wantErr(t, "Lock", mu.Lock(background), nil)
		if wait() == nil {
			t.Errorf("%s: no error", name)
		}
		if ok, err := mu.TryLock(); !ok || err != nil {
			t.Fatalf("%s: the mutex is still locked: %v", name, err)
		}
		wantErr(t, "Unlock", mu.Unlock(), nil)
	}
}

// TestCloseByHolder: a goroutine that closes the box while it holds a lock itself is a holder that
// dies. Permits of a Semaphore are free again, and Close does not wait for them.
func TestCloseByHolder(t *testing.T) {
	dir := shmemtest.Dir(t)
	_, peer := openClosing(t, dir)
	b, v := openClosing(t, dir)
	wantErr(t, "Lock", v.Rows[2].Mu.Lock(background), nil)
	start := time.Now()
	wantErr(t, "Close", b.Close(), nil)
	if took := time.Since(start); took < mem.UnlockTime {
		t.Errorf("Close waited for %v instead of %v", took, mem.UnlockTime)
	}
	wantErr(t, "a peer's lock", peer.Rows[2].Mu.Lock(background), psync.ErrOwnerDied)

	b, v = openClosing(t, dir)
	wantErr(t, "SetLimit", v.Sem.SetLimit(1), nil)
	wantErr(t, "Acquire", v.Sem.Acquire(background, 1), nil)
	wantErr(t, "Close", b.Close(), nil)
	wantErr(t, "a peer's permit", peer.Sem.Acquire(background, 1), nil)
}

// An estate is what an attachment that closes may leave to its heirs.
type estate struct {
	Mu psync.Mutex
	RW psync.RWMutex
	Ev psync.Event
}

func openEstate(dir string) (*shmem.Box[estate], error) {
	return shmem.Open[estate]("estate", &shmem.Options{Dir: dir})
}

func init() { roles = append(roles, shmemtest.Role{Name: "heir", Run: heir}) }

// heir waits for what another attachment holds, in a process that never looks by itself.
func heir(c *shmemtest.Conn) error {
	wait.LookLate(time.Hour)
	b, err := openEstate(c.Args()[0])
	if err != nil {
		return err
	}
	defer b.Close()
	v := b.Value()
	switch c.Args()[1] {
	case "mutex":
		err = v.Mu.Lock(background)
	case "rwmutex":
		err = v.RW.RLock(background)
	case "event":
		err = v.Ev.Wait(background)
	}
	return c.Send("owner died: %v", errors.Is(err, psync.ErrOwnerDied))
}

// TestCloseByHolderIsTold: those that wait are told at once when the holder closes its box, though
// its process lives. The owner of the segment holds its slot for longer than others.
func TestCloseByHolderIsTold(t *testing.T) {
	for _, kind := range []string{"mutex", "rwmutex", "event"} {
		for _, owner := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/owner=%v", kind, owner), func(t *testing.T) {
				dir := shmemtest.Dir(t)
				b, err := openEstate(dir)
				if err != nil {
					t.Fatal(err)
				}
				holder := b
				if !owner {
					defer b.Close()
					if holder, err = openEstate(dir); err != nil {
						t.Fatal(err)
					}
				}
				v := holder.Value()
				switch kind {
				case "mutex":
					err = v.Mu.Lock(background)
				case "rwmutex":
					err = v.RW.Lock(background)
				case "event":
					err = v.Ev.Promise()
				}
				if err != nil {
					t.Fatal(err)
				}
				m := mem.Of(v)
				c := shmemtest.Start(t, "heir", dir, kind)
				sleeper(t, m)
				if err := holder.Close(); err != nil {
					t.Fatal(err)
				}
				c.Expect(t, "owner died: true")
			})
		}
	}
}
