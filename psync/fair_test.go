package psync_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem/psync"
)

// TestHog: a goroutine that keeps a lock for 2 ms each time, and locks it again at once, leaves it
// to one that waits, in another attachment as in its own.
func TestHog(t *testing.T) {
	path, _, v := newSeg(t)
	_, w := again(t, path)
	for _, c := range []struct {
		name        string
		hog, victim locker
	}{
		{"a mutex in another attachment", &v.mu, &w.mu},
		{"a mutex in the same", &v.mu, &v.mu},
		{"a writer in another attachment", &v.rw, &w.rw},
		{"a writer in the same", &v.rw, &v.rw},
		{"a reader in another attachment", &v.rw, reader{&w.rw}},
	} {
		t.Run(c.name, func(t *testing.T) { hog(t, c.hog, c.victim) })
	}
}

type locker interface {
	Lock(context.Context) error
	Unlock() error
}

// A reader is an RWMutex that is locked for reading.
type reader struct{ *psync.RWMutex }

func (r reader) Lock(ctx context.Context) error { return r.RLock(ctx) }
func (r reader) Unlock() error                  { return r.RUnlock() }

func hog(t *testing.T, l, victim locker) {
	var stop atomic.Bool
	var hogged atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !stop.Load() {
			wantErr(t, "Lock", l.Lock(context.Background()), nil)
			hogged.Add(1)
			time.Sleep(2 * time.Millisecond)
			wantErr(t, "Unlock", l.Unlock(), nil)
		}
	}()
	for hogged.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	const turns = 20
	before := hogged.Load()
	for range turns {
		wantErr(t, "Lock", victim.Lock(soon(t)), nil)
		wantErr(t, "Unlock", victim.Unlock(), nil)
	}
	// About two without a load on the machine, and over a hundred each without a hand-over.
	if n := hogged.Load() - before; n > 20*turns {
		t.Errorf("it was locked %d times meanwhile, for %d turns", n, turns)
	}
	stop.Store(true)
	<-ended
}
