//go:build race

package psync_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "relay", Run: relay, Optional: true})
}

// relay waits for event 0 and sets event 1.
func relay(c *shmemtest.Conn) error {
	_, v, err := attach(c.Args()[0], waittest.ReadWrite)
	if err != nil {
		return err
	}
	c.Send("ready")
	if err := v.ev[0].Wait(context.Background()); err != nil {
		return err
	}
	return v.ev[1].Set()
}

// racy are programs that run in a process of their own; the race detector must report those
// that are wrong, and be silent about the others.
var racy = map[string]struct {
	wrong bool
	run   func(t *testing.T, v, w *value) // two attachments to one segment
}{
	"nothing": {true, func(t *testing.T, v, w *value) {
		both(func() { v.n++ }, func() { v.n++ })
	}},
	"different locks": {true, func(t *testing.T, v, w *value) {
		both(func() { v.mu.Lock(context.Background()); v.n++; v.mu.Unlock() }, func() { v.rw.Lock(context.Background()); v.n++; v.rw.Unlock() })
	}},
	"readers write": {true, func(t *testing.T, v, w *value) {
		both(func() { v.rw.RLock(context.Background()); v.n++; v.rw.RUnlock() }, func() { v.rw.RLock(context.Background()); v.n++; v.rw.RUnlock() })
	}},
	"an event that is set too soon": {true, func(t *testing.T, v, w *value) {
		pair(func() { v.ev[0].Set(); v.n++ }, func() { v.ev[0].Wait(context.Background()); time.Sleep(10 * time.Millisecond); v.n++ })
	}},
	"Mutex": {false, func(t *testing.T, v, w *value) {
		both(func() { v.mu.Lock(context.Background()); v.n++; v.mu.Unlock() }, func() { v.mu.Lock(context.Background()); v.n++; v.mu.Unlock() })
	}},
	"Mutex by two attachments": {false, func(t *testing.T, v, w *value) {
		n := 0
		both(func() { v.mu.Lock(context.Background()); n++; v.mu.Unlock() }, func() { w.mu.Lock(context.Background()); n++; w.mu.Unlock() })
	}},
	"Mutex in ordinary memory": {false, func(t *testing.T, v, w *value) {
		n, mu := 0, new(psync.Mutex)
		both(func() { mu.Lock(context.Background()); n++; mu.Unlock() }, func() { mu.Lock(context.Background()); n++; mu.Unlock() })
	}},
	"RWMutex": {false, func(t *testing.T, v, w *value) {
		both(func() { v.rw.RLock(context.Background()); _ = v.n; v.rw.RUnlock() }, func() { w.rw.Lock(context.Background()); v.n++; w.rw.Unlock() })
	}},
	"Semaphore": {false, func(t *testing.T, v, w *value) {
		v.sem.SetLimit(1)
		f := func() { v.sem.Acquire(context.Background(), 1); v.n++; v.sem.Release(1) }
		both(f, f)
	}},
	"Event": {false, func(t *testing.T, v, w *value) {
		pair(func() { v.n++; v.ev[0].Set() }, func() { w.ev[0].Wait(context.Background()); v.n++ })
	}},
	"Once": {false, func(t *testing.T, v, w *value) {
		f := func() { v.once.Do(context.Background(), func() error { v.n++; return nil }); _ = v.n }
		both(f, f)
	}},
	"by way of a peer": {false, func(t *testing.T, v, w *value) {
		c := shmemtest.Start(t, "relay", os.Getenv("RACY_SEGMENT"))
		c.Expect(t, "ready")
		pair(func() { v.n++; v.ev[0].Set() }, func() { v.ev[1].Wait(context.Background()); v.n++ })
	}},
}

func pair(f, g func()) {
	var wg sync.WaitGroup
	wg.Go(f)
	wg.Go(g)
	wg.Wait()
}

func both(f, g func()) {
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(f)
		wg.Go(g)
	}
	wg.Wait()
}

// TestRacy is one such program, in a process that TestRace starts.
func TestRacy(t *testing.T) {
	name := os.Getenv("RACY")
	if name == "" {
		t.Log("runs in a process that TestRace starts")
		return
	}
	path, _, v := newSeg(t)
	os.Setenv("RACY_SEGMENT", path)
	w := v
	if strings.Contains(name, "two") || name == "Event" || name == "RWMutex" {
		_, w = again(t, path)
	}
	racy[name].run(t, v, w)
}

func TestRace(t *testing.T) {
	for name, r := range racy {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestRacy$", "-test.count=1")
			cmd.Env = append(os.Environ(), "RACY="+name, "GORACE=halt_on_error=0")
			out, _ := cmd.CombinedOutput()
			if got := strings.Contains(string(out), "WARNING: DATA RACE"); got != r.wrong {
				t.Errorf("reported: %v, want %v\n%s", got, r.wrong, out)
			}
		})
	}
}
