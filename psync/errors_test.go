package psync_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
)

type everyLock struct {
	Mutex     psync.Mutex
	RWMutex   psync.RWMutex
	Semaphore psync.Semaphore
	Event     psync.Event
	Cond      psync.Cond
	Once      psync.Once
}

// failing lists every method that can fail, by the operation that its error names.
func failing(ctx context.Context, v *everyLock) map[string]func() error {
	// Pointers to the locks: after Close the expression v.Mutex itself may fault.
	mu, rw, sem, ev, cond, once := &v.Mutex, &v.RWMutex, &v.Semaphore, &v.Event, &v.Cond, &v.Once
	nothing := func() error { return nil }
	second := func(_ any, err error) error { return err }
	return map[string]func() error{
		"mutex lock":           func() error { return mu.Lock(ctx) },
		"mutex trylock":        func() error { return second(mu.TryLock()) },
		"mutex unlock":         func() error { return mu.Unlock() },
		"mutex recover":        func() error { return mu.Recover(ctx, nothing) },
		"rwmutex lock":         func() error { return rw.Lock(ctx) },
		"rwmutex trylock":      func() error { return second(rw.TryLock()) },
		"rwmutex unlock":       func() error { return rw.Unlock() },
		"rwmutex rlock":        func() error { return rw.RLock(ctx) },
		"rwmutex tryrlock":     func() error { return second(rw.TryRLock()) },
		"rwmutex runlock":      func() error { return rw.RUnlock() },
		"rwmutex recover":      func() error { return rw.Recover(ctx, nothing) },
		"semaphore setlimit":   func() error { return sem.SetLimit(1) },
		"semaphore acquire":    func() error { return sem.Acquire(ctx, 1) },
		"semaphore tryacquire": func() error { return second(sem.TryAcquire(1)) },
		"semaphore release":    func() error { return sem.Release(1) },
		"semaphore available":  func() error { return second(sem.Available()) },
		"event set":            func() error { return ev.Set() },
		"event reset":          func() error { return ev.Reset() },
		"event promise":        func() error { return ev.Promise() },
		"event wait":           func() error { return ev.Wait(ctx) },
		"cond wait":            func() error { return cond.Wait(ctx, mu) },
		"cond signal":          func() error { return cond.Signal() },
		"cond broadcast":       func() error { return cond.Broadcast() },
		"once do":              func() error { return once.Do(ctx, nothing) },
	}
}

// wantError checks an error's operation, segment, cause and text.
func wantError(t *testing.T, err error, op, name string, cause error) {
	t.Helper()
	var e *shmem.Error
	if !errors.As(err, &e) || e.Op != op || e.Name != name || !errors.Is(err, cause) {
		t.Errorf("%s of %q: %#v: %v, want %v", op, name, e, err, cause)
	} else if want := "shmem: " + strings.TrimSuffix(op+" "+name, " ") + ": "; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%q does not begin with %q", err, want)
	}
}

func newLocks(t *testing.T, name string) (*shmem.Box[everyLock], *shmem.Options) {
	opts := &shmem.Options{Dir: shmemtest.Dir(t)}
	box, err := shmem.Create[everyLock](name, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	return box, opts
}

func TestErrorsNotHeld(t *testing.T) {
	box, _ := newLocks(t, "name")
	for name, v := range map[string]*everyLock{"name": box.Value(), "": new(everyLock)} {
		all := failing(context.Background(), v)
		for _, op := range []string{"mutex unlock", "rwmutex unlock", "rwmutex runlock", "semaphore release"} {
			wantError(t, all[op](), op, name, psync.ErrNotHeld)
		}
		v.Mutex.Unlock()
		wantError(t, v.Cond.Wait(context.Background(), &v.Mutex), "cond wait", name, psync.ErrNotHeld)
	}
}

// TestErrorsCanceled: a call that waits returns its context's error.
func TestErrorsCanceled(t *testing.T) {
	box, opts := newLocks(t, "name")
	v := box.Value()
	other, err := shmem.Attach[everyLock]("name", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	o := other.Value()
	ctx, cancel := context.WithCancel(context.Background())
	if err := errors.Join(o.Mutex.Lock(ctx), o.RWMutex.Lock(ctx)); err != nil {
		t.Fatal(err)
	}
	cancel()
	all := failing(ctx, v)
	for _, op := range []string{"mutex lock", "rwmutex lock", "rwmutex rlock", "semaphore acquire", "event wait"} {
		wantError(t, all[op](), op, "name", context.Canceled)
	}
	if err := errors.Join(o.Mutex.Unlock(), v.Mutex.Lock(ctx)); err != nil {
		t.Fatal(err)
	}
	wantError(t, all["cond wait"](), "cond wait", "name", context.Canceled)
	for _, op := range []string{"mutex trylock", "rwmutex trylock", "rwmutex tryrlock", "semaphore tryacquire"} {
		if err := all[op](); err != nil {
			t.Errorf("%s of what is held: %v", op, err)
		}
	}
}

func TestErrorsReadOnly(t *testing.T) {
	box, opts := newLocks(t, "name")
	only := *opts
	only.ReadOnly = true
	reader, err := shmem.Attach[everyLock]("name", &only)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := box.Value().Event.Set(); err != nil {
		t.Fatal(err)
	}
	for op, f := range failing(context.Background(), reader.Value()) {
		if op == "event wait" {
			if err := f(); err != nil {
				t.Errorf("%s: %v", op, err)
			}
			continue
		}
		wantError(t, f(), op, "name", shmem.ErrReadOnly)
	}
}

func TestErrorsOwnerDied(t *testing.T) {
	box, opts := newLocks(t, "name")
	other, err := shmem.Attach[everyLock]("name", opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	o := other.Value()
	if err := errors.Join(o.Mutex.Lock(ctx), o.RWMutex.Lock(ctx), o.Event.Promise(), other.Close()); err != nil {
		t.Fatal(err)
	}
	all := failing(ctx, box.Value())
	for _, op := range []string{"mutex lock", "mutex trylock", "rwmutex lock", "rwmutex trylock", "rwmutex rlock", "rwmutex tryrlock", "event wait"} {
		wantError(t, all[op](), op, "name", psync.ErrOwnerDied)
	}
}

// TestErrorsClosed: after Close an error still names the segment.
func TestErrorsClosed(t *testing.T) {
	if robust.RaceEnabled {
		return // a pointer into a closed box faults there, see internal/mem/overlay_race_unsafe.go
	}
	for _, name := range []string{"first", "second"} {
		box, _ := newLocks(t, name)
		all := failing(context.Background(), box.Value())
		if err := box.Close(); err != nil {
			t.Fatal(err)
		}
		for op, f := range all {
			wantError(t, f(), op, name, fs.ErrClosed)
		}
	}
}

// TestErrorsOfCallbacks: an error of the caller's function comes back as it is.
func TestErrorsOfCallbacks(t *testing.T) {
	box, opts := newLocks(t, "name")
	v := box.Value()
	ctx := context.Background()
	own := errors.New("own")
	fail := func() error { return own }
	if err := v.Once.Do(ctx, fail); err != own {
		t.Errorf("Once.Do: %v", err)
	}
	other, err := shmem.Attach[everyLock]("name", opts)
	if err != nil {
		t.Fatal(err)
	}
	o := other.Value()
	if err := errors.Join(o.Mutex.Lock(ctx), o.RWMutex.Lock(ctx), other.Close()); err != nil {
		t.Fatal(err)
	}
	if err := v.Mutex.Recover(ctx, fail); err != own {
		t.Errorf("Mutex.Recover: %v", err)
	}
	if err := v.RWMutex.Recover(ctx, fail); err != own {
		t.Errorf("RWMutex.Recover: %v", err)
	}
}
