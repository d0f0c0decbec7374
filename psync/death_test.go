package psync_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
)

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// within fails the test if f takes so long that it must have been forgotten. On a machine of any
// load what is not forgotten takes less.
func within(t *testing.T, what string, f func() error) error {
	t.Helper()
	const d = 20 * time.Second
	start := time.Now()
	err := f()
	if took := time.Since(start); took > d {
		t.Errorf("%s took %v, at most %v is right", what, took, d)
	}
	return err
}

// TestNewcomerInDeadSlot: an idle attachment takes the slot of a dead holder, so the slot's lock
// byte is held again. Only the generation shows that the holder is dead.
func TestNewcomerInDeadSlot(t *testing.T) {
	path, s, v := newSeg(t)
	c := start(t, path)
	do(t, c, "lock", "rlock")
	c.Kill()
	n := start(t, path) // takes the lowest free slot, that of the dead holder
	do(t, n, "broadcast")
	if high := s.M.Peers.SlotBound(); high != 2 {
		t.Fatalf("the newcomer has another slot: %d were taken", high)
	}
	wantErr(t, "Lock", within(t, "Lock", func() error { return v.mu.Lock(context.Background()) }), psync.ErrOwnerDied)
	wantErr(t, "RWMutex.Lock", within(t, "RWMutex.Lock", func() error { return v.rw.Lock(context.Background()) }), nil)
}

// TestKilledBetweenFreeingAndWaking: the word is free, so there is no holder whose death could be
// seen.
func TestKilledBetweenFreeingAndWaking(t *testing.T) {
	path, s, v := newSeg(t)
	c := start(t, path)
	do(t, c, "lock")
	s.M.Peers.Slot(1).PIDNS.Store(0) // so the kernel does not report its end either
	done := make(chan error)
	go func() { done <- v.mu.Lock(context.Background()) }()
	for s.M.Peers.Slot(int(s.Self.Slot())).Sleeping.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	c.Send("stop %s", step.UnlockFreed)
	c.Send("unlock")
	c.Expect(t, "reached")
	c.Kill()
	wantErr(t, "Lock", within(t, "Lock", func() error { return <-done }), nil)
}

// TestDeadReaderWithNewcomer: a mark that a dead reader left is not the mark of the slot's next
// attachment.
func TestDeadReaderWithNewcomer(t *testing.T) {
	path, _, v := newSeg(t)
	c := start(t, path)
	do(t, c, "rlock", "rlock")
	done := make(chan error)
	go func() { done <- v.rw.Lock(context.Background()) }()
	time.Sleep(20 * time.Millisecond)
	c.Kill()
	start(t, path)
	wantErr(t, "Lock", within(t, "Lock", func() error { return <-done }), nil)
}

func TestRecover(t *testing.T) {
	path, _, v := newSeg(t)
	ran := 0
	repair := func() error { ran++; return nil }
	wantErr(t, "without a death", v.mu.Recover(context.Background(), repair), nil)
	v.mu.Lock(context.Background())
	wantErr(t, "of a living holder", v.mu.Recover(context.Background(), repair), nil)
	v.mu.Unlock()
	if ran != 0 {
		t.Error("repair ran although no holder had died")
	}

	c := start(t, path)
	do(t, c, "lock")
	c.Kill()
	for range 2 {
		wantErr(t, "Lock", v.mu.Lock(context.Background()), psync.ErrOwnerDied)
		ok, err := v.mu.TryLock()
		if ok {
			t.Error("TryLock has locked")
		}
		wantErr(t, "TryLock", err, psync.ErrOwnerDied)
		wantErr(t, "Unlock", v.mu.Unlock(), psync.ErrNotHeld)
	}
	no := errors.New("no")
	wantErr(t, "a repair that fails", v.mu.Recover(context.Background(), func() error { return no }), no)
	wantErr(t, "Lock", v.mu.Lock(context.Background()), psync.ErrOwnerDied)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not pass")
			}
		}()
		v.mu.Recover(context.Background(), func() error { panic("no") })
	}()
	wantErr(t, "Lock", v.mu.Lock(context.Background()), psync.ErrOwnerDied)
	wantErr(t, "Recover", v.mu.Recover(context.Background(), repair), nil)
	if ran != 1 {
		t.Errorf("repair ran %d times", ran)
	}
	wantErr(t, "Lock", v.mu.Lock(context.Background()), nil)
	wantErr(t, "Unlock", v.mu.Unlock(), nil)
	wantErr(t, "Unlock", v.mu.Unlock(), psync.ErrNotHeld)
}

func TestOtherAttachment(t *testing.T) {
	path, _, v := newSeg(t)
	s2, v2 := again(t, path)
	v.sem.SetLimit(3)
	ctx := context.Background()
	wantErr(t, "", v.mu.Lock(ctx), nil)
	wantErr(t, "", v.rw.RLock(ctx), nil)
	wantErr(t, "", v.sem.Acquire(ctx, 2), nil)
	wantErr(t, "Unlock", v2.mu.Unlock(), psync.ErrNotHeld)
	wantErr(t, "RUnlock", v2.rw.RUnlock(), psync.ErrNotHeld)
	wantErr(t, "RWMutex.Unlock", v2.rw.Unlock(), psync.ErrNotHeld)
	wantErr(t, "Release", v2.sem.Release(1), psync.ErrNotHeld)
	wantErr(t, "Release of more", v.sem.Release(3), psync.ErrNotHeld)
	if ok, err := v2.mu.TryLock(); ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := v2.rw.TryLock(); ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := v2.rw.TryRLock(); !ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := v2.sem.TryAcquire(2); ok || err != nil {
		t.Error(ok, err)
	}
	if n, err := v2.sem.Available(); n != 1 || err != nil {
		t.Error(n, err)
	}
	wantErr(t, "", v.mu.Unlock(), nil)
	wantErr(t, "", v2.mu.Lock(ctx), nil)

	// Closing an attachment is its death: its locks are left, its permits are free.
	wantErr(t, "", v.rw.RUnlock(), nil)
	s2.Close()
	wantErr(t, "Lock", v.mu.Lock(ctx), psync.ErrOwnerDied)
	wantErr(t, "RWMutex.Lock", v.rw.Lock(ctx), nil)
	if !robust.RaceEnabled { // there it faults
		wantErr(t, "Lock after Close", v2.mu.Lock(ctx), shmem.ErrClosed)
	}
}

func TestNotShared(t *testing.T) {
	path, _, v := newSeg(t)
	v.sem.SetLimit(3)
	v.mu.Lock(context.Background())
	v.rw.RLock(context.Background())
	v.sem.Acquire(context.Background(), 1)
	c := new(value) // as "copied := *box.Value()" does
	copy(mem.Bytes(c), mem.Bytes(v))
	wantErr(t, "Lock", c.mu.Lock(context.Background()), psync.ErrNotShared)
	_, err := c.mu.TryLock()
	wantErr(t, "TryLock", err, psync.ErrNotShared)
	wantErr(t, "Unlock", c.mu.Unlock(), psync.ErrNotShared)
	wantErr(t, "Recover", c.mu.Recover(context.Background(), nil), psync.ErrNotShared)
	wantErr(t, "RUnlock", c.rw.RUnlock(), psync.ErrNotShared)
	wantErr(t, "Release", c.sem.Release(1), psync.ErrNotShared)
	_ = path

	// The other way round: a lock held in ordinary memory, copied into a segment, is a dead one's.
	l := new(value)
	l.mu.Lock(context.Background())
	copy(mem.Bytes(&v.mu), mem.Bytes(&l.mu))
	wantErr(t, "Lock", v.mu.Lock(context.Background()), psync.ErrOwnerDied)
}

// TestGarbage: calls return for any values of the words.
func TestGarbage(t *testing.T) {
	_, _, v := newSeg(t)
	for _, word := range []uint32{3, 7, 2 << 10, 1<<10 | 900, 1<<31 | 1, 1<<31 | 5<<10, ^uint32(0)} {
		words, _ := mem.At[[2]uint32](mem.Of(&v.mu), mem.Offset(mem.Of(&v.mu), &v.mu))
		words[0] = word
		wantErr(t, strconv.Itoa(int(word)), v.mu.Lock(context.Background()), psync.ErrOwnerDied)
		wantErr(t, "", v.mu.Recover(context.Background(), func() error { return nil }), nil)
		wantErr(t, "", v.useMutex(), nil)
	}
	for i, b := range mem.Bytes(&v.rw) {
		_ = b
		mem.Bytes(&v.rw)[i] = 0xA5
	}
	wantErr(t, "RWMutex", v.useWrite(), nil)
	for i := range mem.Bytes(&v.sem) {
		mem.Bytes(&v.sem)[i] = 0xA5
	}
	v.sem.SetLimit(3)
	wantErr(t, "Semaphore", v.useSem(), nil)
}

// inWait counts the goroutines that are in package wait.
func inWait() (n int) {
	b := make([]byte, 1<<20)
	for _, stack := range bytes.Split(b[:runtime.Stack(b, true)], []byte("\n\n")) {
		if bytes.Contains(stack, []byte("/internal/wait.(*parkingLot).wait(")) ||
			bytes.Contains(stack, []byte("/internal/wait.TurnOf(")) {
			n++
		}
	}
	return n
}

// TestCloseWhileBlocked: every call that waits returns ErrClosed, and nothing faults.
func TestCloseWhileBlocked(t *testing.T) {
	path := newFile(t)
	_, holder := again(t, path)
	holder.mu.Lock(context.Background())
	holder.rw.Lock(context.Background())
	holder.sem.SetLimit(1)
	holder.sem.Acquire(context.Background(), 1)
	hold := make(chan struct{})
	inside := make(chan struct{})
	go holder.once.Do(context.Background(), func() error { close(inside); <-hold; return nil })
	<-inside
	defer close(hold)
	for range 3 {
		s, v, err := attach(path, waittest.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		var mu psync.Mutex // ordinary memory
		calls := []func() error{
			func() error { return v.mu.Lock(ctx) },
			func() error { return v.rw.Lock(ctx) },
			func() error { return v.rw.RLock(ctx) },
			func() error { return v.sem.Acquire(ctx, 1) },
			func() error { return v.ev[0].Wait(ctx) },
			func() error { return v.once.Do(ctx, func() error { return nil }) },
			func() error {
				mu.Lock(ctx)
				return v.cond.Wait(ctx, &mu)
			},
		}
		calls = append(calls, calls[:6]...)
		var wg sync.WaitGroup
		before := inWait()
		for i, f := range calls {
			wg.Go(func() { wantErr(t, strconv.Itoa(i), f(), shmem.ErrClosed) })
		}
		for inWait() < before+len(calls) { // a call that begins after Close faults
			time.Sleep(time.Millisecond)
		}
		start := time.Now()
		s.Close()
		wg.Wait()
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("Close took %v", d)
		}
	}
}

func TestReadOnly(t *testing.T) {
	path, _, w := newSeg(t)
	ctx := context.Background()
	for _, how := range []waittest.How{waittest.ReadWish, waittest.ReadPermission} {
		s, v, err := attach(path, how)
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range []func() error{
			func() error { return v.mu.Lock(ctx) }, v.mu.Unlock, func() error { _, err := v.mu.TryLock(); return err },
			func() error { return v.mu.Recover(ctx, nil) },
			func() error { return v.rw.Lock(ctx) }, v.rw.Unlock, func() error { return v.rw.RLock(ctx) }, v.rw.RUnlock,
			func() error { return v.sem.Acquire(ctx, 1) }, func() error { return v.sem.Release(1) },
			func() error { return v.sem.SetLimit(1) },
			v.ev[0].Set, v.ev[0].Reset, v.ev[0].Promise, v.cond.Broadcast,
			func() error { return v.cond.Wait(ctx, &v.mu) },
			func() error { return v.once.Do(ctx, nil) },
		} {
			wantErr(t, strconv.Itoa(i), f(), shmem.ErrReadOnly)
		}
		done := make(chan error)
		go func() { done <- v.ev[0].Wait(ctx) }()
		time.Sleep(5 * time.Millisecond)
		w.ev[0].Set()
		wantErr(t, "Wait", <-done, nil)
		if !v.ev[0].IsSet() {
			t.Error("the event is not set")
		}
		w.ev[0].Reset()
		w.once.Do(ctx, func() error { return nil })
		wantErr(t, "Once that is done", v.once.Do(ctx, nil), nil)
		s.Close()
		w.once = *new(psync.Once)
	}
	s, v, err := attach(path, waittest.Foreign)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "foreign", v.mu.Lock(ctx), errors.ErrUnsupported)
	wantErr(t, "foreign", v.mu.Lock(ctx), shmem.ErrForeign)
	s.Close()
}

// TestStopped: a stopped process is alive.
func TestStopped(t *testing.T) {
	path, _, v := newSeg(t)
	v.sem.SetLimit(1)
	c := start(t, path)
	do(t, c, "lock", "rlock", "acquire", "promise")
	c.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for i, f := range []func() error{
		func() error { return v.mu.Lock(ctx) },
		func() error { return v.rw.Lock(ctx) },
		func() error { return v.sem.Acquire(ctx, 1) },
		func() error { return v.ev[0].Wait(ctx) },
	} {
		wg.Go(func() { wantErr(t, strconv.Itoa(i), f(), context.DeadlineExceeded) })
	}
	wg.Wait()
	c.Continue()
	do(t, c, "unlock", "runlock", "release", "set")
	wantErr(t, "", v.useMutex(), nil)
	wantErr(t, "", v.useWrite(), nil)
}

func TestPromise(t *testing.T) {
	path, _, v := newSeg(t)
	c := start(t, path)
	do(t, c, "promise")
	done := make(chan error)
	go func() { done <- v.ev[0].Wait(context.Background()) }()
	time.Sleep(10 * time.Millisecond)
	c.Kill()
	wantErr(t, "Wait", within(t, "Wait", func() error { return <-done }), psync.ErrOwnerDied)
	wantErr(t, "Wait", v.ev[0].Wait(context.Background()), psync.ErrOwnerDied)
	v.ev[0].Set()
	wantErr(t, "Wait", v.ev[0].Wait(context.Background()), nil)
}

// TestCondHolderDies: a waiter for a signal sees that the lock's holder died.
func TestCondHolderDies(t *testing.T) {
	path, _, v := newSeg(t)
	done := make(chan error)
	go func() {
		v.mu.Lock(context.Background())
		done <- v.cond.Wait(context.Background(), &v.mu)
	}()
	time.Sleep(10 * time.Millisecond)
	c := start(t, path)
	do(t, c, "lock")
	c.Kill()
	wantErr(t, "Wait", within(t, "Wait", func() error { return <-done }), psync.ErrOwnerDied)
}

func init() {
	roles = append(roles, shmemtest.Role{Name: "condlate", Run: condLate})
}

// condLate waits for a signal, in a process that never looks by itself.
func condLate(c *shmemtest.Conn) error {
	wait.LookLate(time.Hour)
	s, v, err := attach(c.Args()[0], waittest.ReadWrite)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := v.mu.Lock(context.Background()); err != nil {
		return err
	}
	err = v.cond.Wait(context.Background(), &v.mu)
	return c.Send("owner died: %v", errors.Is(err, psync.ErrOwnerDied))
}

// TestCondLaterHolderDies: a waiter for a signal watches the holder that it has found at a look,
// also one that locked after the wait began. The kernel tells it of that one's death.
func TestCondLaterHolderDies(t *testing.T) {
	path, s, _ := newSeg(t)
	w := shmemtest.Start(t, "condlate", path)
	slot := sleeper(t, s.M)
	c := start(t, path)
	do(t, c, "lock")
	slot.Pending.Or(slot.Interest.Load()) // a ring, so that it looks; it does not probe because of it
	slot.Bell.Add(1)
	slot.Rouse()
	until(t, func() bool { return slot.Pending.Load() == 0 && slot.Sleeping.Load() != 0 })
	c.Kill()
	w.Expect(t, "owner died: true")
}

// sleeper waits until a leader sleeps, and returns its slot.
func sleeper(t *testing.T, m *mem.Mapping) (slot *mem.Slot) {
	t.Helper()
	until(t, func() bool {
		for i := range m.Peers.SlotBound() {
			if p := m.Peers.Slot(i); p.Sleeping.Load() != 0 {
				slot = p
			}
		}
		return slot != nil
	})
	return slot
}

// until waits until a condition holds.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 20 s")
		}
	}
}

// TestCloseDuringOnce: Close waits for the function, and nothing faults.
func TestCloseDuringOnce(t *testing.T) {
	path := newFile(t)
	s, v, err := attach(path, waittest.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	inside, closed := make(chan struct{}), make(chan struct{})
	go func() { <-inside; s.Close(); close(closed) }()
	wantErr(t, "Do", v.once.Do(context.Background(), func() error {
		close(inside)
		time.Sleep(20 * time.Millisecond)
		return nil
	}), nil)
	<-closed
	_, w := again(t, path)
	wantErr(t, "it counts", w.once.Do(context.Background(), func() error { return errors.New("again") }), nil)
}

func TestCondContext(t *testing.T) {
	_, _, v := newSeg(t)
	v.mu.Lock(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	wantErr(t, "Wait", v.cond.Wait(ctx, &v.mu), context.DeadlineExceeded)
	wantErr(t, "not locked any more", v.mu.Unlock(), psync.ErrNotHeld)
}

func TestOnce(t *testing.T) {
	path, _, v := newSeg(t)
	_, v2 := again(t, path)
	no := errors.New("no")
	wantErr(t, "", v.once.Do(context.Background(), func() error { return no }), no)
	var ran atomic.Int32
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			o := &[]*value{v, v2}[i%2].once
			wantErr(t, "", o.Do(context.Background(), func() error { ran.Add(1); time.Sleep(time.Millisecond); return nil }), nil)
		})
	}
	wg.Wait()
	if ran.Load() != 1 {
		t.Errorf("it ran %d times", ran.Load())
	}
}

func threads() int {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(b, []byte("Threads:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, _ := strconv.Atoi(string(bytes.TrimSpace(line)))
	return n
}

// TestManyGoroutines: ten thousand goroutines want one lock that another process holds.
func TestManyGoroutines(t *testing.T) {
	path, _, v := newSeg(t)
	v.sem.SetLimit(2)
	c := start(t, path)
	do(t, c, "lock", "wlock")
	before := threads()
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	var wg sync.WaitGroup
	sum := 0
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	for i := range n {
		wg.Go(func() {
			f, g := v.mu.Lock, v.mu.Unlock
			switch i % 3 {
			case 1:
				f, g = v.rw.RLock, v.rw.RUnlock
			case 2:
				f, g = v.rw.Lock, v.rw.Unlock
			}
			if err := f(context.Background()); err != nil {
				t.Error(err)
			}
			if i%3 == 0 {
				sum++
			}
			if err := g(); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	more := threads() - before
	runtime.ReadMemStats(&m1)
	start := time.Now()
	do(t, c, "unlock", "wunlock")
	wg.Wait()
	t.Logf("%d goroutines waited: %d threads more, %d bytes each; all had their turn in %v", n, more, (m1.Sys-m0.Sys)/uint64(n), time.Since(start))
	if more > 10+runtime.GOMAXPROCS(0) || sum != (n+2)/3 {
		t.Errorf("%d threads more; the lock let %d of %d in", more, sum, (n+2)/3)
	}
}

func TestAllocs(t *testing.T) {
	_, _, v := newSeg(t)
	v.sem.SetLimit(2)
	v.once.Do(context.Background(), func() error { return nil })
	v.ev[0].Set()
	ctx := context.Background()
	for name, f := range map[string]func(){
		"Mutex":        func() { v.mu.Lock(ctx); v.mu.Unlock() },
		"LockContext":  func() { v.mu.Lock(ctx); v.mu.Unlock() },
		"TryLock":      func() { v.mu.TryLock(); v.mu.Unlock() },
		"RWMutex":      func() { v.rw.Lock(ctx); v.rw.Unlock() },
		"RLock":        func() { v.rw.RLock(ctx); v.rw.RUnlock() },
		"Semaphore":    func() { v.sem.Acquire(ctx, 1); v.sem.Release(1) },
		"Event":        func() { v.ev[1].Set(); v.ev[1].Reset() },
		"Event.Wait":   func() { v.ev[0].Wait(ctx) },
		"Once":         func() { v.once.Do(ctx, nil) },
		"Broadcast":    func() { v.cond.Broadcast() },
		"ordinary":     func() { local.Lock(ctx); local.Unlock() },
		"TryLock held": func() { v.mu.Lock(ctx); v.mu.TryLock(); v.mu.Unlock() },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

var local psync.Mutex

// TestTakeover measures the time from the moment at which the kernel frees a dead holder's lock
// byte, as a blocked F_OFD_SETLKW sees it, to the moment at which a waiter knows.
func TestTakeover(t *testing.T) {
	t.Run("told", func(t *testing.T) { takeover(t, shmemtest.Command{}, true) })
	t.Run("looking", func(t *testing.T) { takeover(t, shmemtest.Command{}, false) })
}

// takeover kills holders of a lock while another attachment waits for it. The times are for people:
// a loaded machine may take any time.
func takeover(t *testing.T, holder shmemtest.Command, told bool) {
	n := 20
	if testing.Short() {
		n = 3
	}
	var after, total []time.Duration
	for range n {
		path, s, v := newSeg(t)
		w, err := waittest.Attach(path, waittest.ReadWish) // an open file of its own
		if err != nil {
			t.Fatal(err)
		}
		holder.Role, holder.Args = "actor", []string{path}
		c := holder.Start(t)
		do(t, c, "lock")
		if !told {
			s.M.Peers.Slot(2).PIDNS.Store(0)
		}
		free, known := make(chan time.Time, 1), make(chan time.Time, 1)
		go func() {
			w.File().LockWait(sys.SlotByte + 2)
			now := time.Now()
			w.File().Unlock(sys.SlotByte+2, 1) // else it would pass for the holder, alive
			free <- now
		}()
		go func() { wantErr(t, "Lock", v.mu.Lock(context.Background()), psync.ErrOwnerDied); known <- time.Now() }()
		time.Sleep(15 * time.Millisecond)
		kill := time.Now()
		go c.Kill()
		at, f := <-known, <-free
		after, total = append(after, at.Sub(f)), append(total, at.Sub(kill))
		w.Close()
	}
	slices.Sort(after)
	slices.Sort(total)
	t.Logf("takeover: from the kernel's release median %v, max %v; from SIGKILL median %v, max %v", after[n/2], after[n-1], total[n/2], total[n-1])
}

// TestTryAcquireBesideAStoppedPeer stops a peer that has the table of permits locked: TryAcquire
// does not wait for it. When the peer dies TryAcquire takes the table over.
func TestTryAcquireBesideAStoppedPeer(t *testing.T) {
	path, _, v := newSeg(t)
	v.sem.SetLimit(3)
	c := start(t, path)
	c.Send("stop %s", step.SemLocked)
	c.Send("acquire")
	c.Expect(t, "reached")
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	type result struct {
		ok  bool
		err error
	}
	done := make(chan result, 1)
	go func() {
		ok, err := v.sem.TryAcquire(1)
		done <- result{ok, err}
	}()
	select {
	case r := <-done:
		if r.ok || r.err != nil {
			t.Errorf("TryAcquire returned %v, %v; want false", r.ok, r.err)
		}
	case <-time.After(20 * time.Second):
		t.Error("TryAcquire waits for a stopped process")
	}
	c.Kill()
	// For a millisecond after it was seen alive the peer counts as alive.
	ok, err := false, error(nil)
	for end := time.Now().Add(20 * time.Second); !ok && err == nil && time.Now().Before(end); {
		ok, err = v.sem.TryAcquire(3)
	}
	if !ok || err != nil {
		t.Errorf("TryAcquire returned %v, %v after the death", ok, err)
	}
}
