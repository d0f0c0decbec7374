package psync_test

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "actor", Run: actor}) }

// actor performs the operations that its parent names. Each operation runs in its own goroutine, which
// sends "did NAME" or "did NAME ERROR" afterwards. After "stop POINT" the actor sends "reached" at that
// point, and stays there until "resume".
func actor(c *shmemtest.Conn) error {
	s, v, err := attach(c.Args()[0], waittest.ReadWrite)
	if err != nil {
		return err
	}
	var target string
	var mu sync.Mutex
	resume := make(chan struct{})
	step.Hook(func(p step.Point) {
		mu.Lock()
		hit := string(p) == target
		if hit {
			target = ""
		}
		mu.Unlock()
		if hit {
			c.Send("reached")
			<-resume
		}
	})
	ctx := context.Background()
	nothing := func() error { return nil }
	ops := map[string]func() error{
		"lock": func() error { return v.mu.Lock(ctx) }, "unlock": v.mu.Unlock,
		"rlock": func() error { return v.rw.RLock(ctx) }, "runlock": v.rw.RUnlock, "wlock": func() error { return v.rw.Lock(ctx) }, "wunlock": v.rw.Unlock,
		"acquire":  func() error { return v.sem.Acquire(ctx, 1) },
		"acquire3": func() error { return v.sem.Acquire(ctx, 3) },
		"release":  func() error { return v.sem.Release(1) },
		"set":      v.ev[0].Set, "promise": v.ev[0].Promise,
		"wait":        func() error { return v.ev[0].Wait(ctx) },
		"condwait":    func() error { return v.cond.Wait(ctx, &v.mu) },
		"broadcast":   v.cond.Broadcast,
		"once":        func() error { return v.once.Do(ctx, nothing) },
		"recover":     func() error { return v.mu.Recover(ctx, nothing) },
		"recoverfail": func() error { return v.mu.Recover(ctx, func() error { return errors.New("no") }) },
		"recoverrw":   func() error { return v.rw.Recover(ctx, nothing) },
		"close":       func() error { s.Close(); return nil },
	}
	for {
		line, err := c.Recv()
		if err != nil {
			return err
		}
		switch word, arg, _ := strings.Cut(line, " "); word {
		case "stop":
			mu.Lock()
			target = arg
			mu.Unlock()
		case "resume":
			close(resume)
		default:
			op := ops[word]
			if op == nil {
				return fmt.Errorf("what is %q?", line)
			}
			go func() {
				if err := op(); err != nil {
					c.Send("did %s %v", word, err)
				} else {
					c.Send("did %s", word)
				}
			}()
		}
	}
}

func start(t testing.TB, path string) *shmemtest.Child { return shmemtest.Start(t, "actor", path) }

// do lets the child do something that does not block.
func do(t testing.TB, c *shmemtest.Child, ops ...string) {
	t.Helper()
	for _, op := range ops {
		c.Send("%s", op)
		if rest := c.Expect(t, "did "+op); rest != "" {
			t.Fatalf("%s: %s", op, rest)
		}
	}
}

// A world is a segment with two attachments of the test's own, which act as two more processes.
type world struct {
	t    *testing.T
	path string
	a, b *value
	sa   *waittest.Seg
	c    *shmemtest.Child
	wg   sync.WaitGroup
}

// waits begins to wait for something, by f, and gives it time to: until one more kind of object is
// waited for and the leader sleeps, or for a while if that cannot be seen.
func (w *world) waits(f func() error) {
	before := w.interest()
	w.wg.Go(func() {
		if err := f(); err != nil && !errors.Is(err, psync.ErrOwnerDied) {
			w.t.Errorf("a bystander: %v", err)
		}
	})
	for start := time.Now(); w.interest() <= before && time.Since(start) < 5*time.Second; {
		time.Sleep(time.Millisecond)
	}
	w.asleep(true)
}

// interest counts the kinds of objects for which attachments wait.
func (w *world) interest() (n int) {
	p := w.sa.M.Peers
	for i := range p.SlotBound() {
		n += bits.OnesCount64(p.Slot(i).Interest.Load())
	}
	return n
}

// locks returns a function that locks and unlocks, recovering where that is due.
func locks(lock func(context.Context) error, unlock func() error, recov func(context.Context, func() error) error) func() error {
	ctx := context.Background()
	return func() error {
		for {
			err := lock(ctx)
			if errors.Is(err, psync.ErrOwnerDied) {
				if err = recov(ctx, func() error { return nil }); err == nil {
					continue
				}
			}
			if err != nil {
				return err
			}
			return unlock()
		}
	}
}

func (v *value) useMutex() error { return locks(v.mu.Lock, v.mu.Unlock, v.mu.Recover)() }
func (v *value) useWrite() error { return locks(v.rw.Lock, v.rw.Unlock, v.rw.Recover)() }
func (v *value) useRead() error  { return locks(v.rw.RLock, v.rw.RUnlock, v.rw.Recover)() }
func (v *value) useSem() error {
	if err := v.sem.Acquire(context.Background(), 3); err != nil {
		return err
	}
	return v.sem.Release(3)
}
func (v *value) useEvent() error { return v.ev[0].Wait(context.Background()) }

// all uses everything by both attachments: nothing may be stuck.
func (w *world) all() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	must := func(what string, err error) {
		if err != nil {
			w.t.Errorf("%s: %v", what, err)
		}
	}
	for i, v := range []*value{w.a, w.b} {
		other := []*value{w.b, w.a}[i]
		must("mutex", v.useMutex())
		must("write", v.useWrite())
		must("read", v.useRead())
		must("semaphore", v.useSem())
		must("once", v.once.Do(ctx, func() error { return nil }))
		must("reset", v.ev[1].Reset())
		done := make(chan error, 2)
		go func() { done <- other.ev[1].Wait(ctx) }()
		go func() {
			err := other.mu.Lock(ctx)
			if err == nil {
				if err = other.cond.Wait(ctx, &other.mu); err == nil {
					err = other.mu.Unlock()
				}
			}
			done <- err
		}()
		time.Sleep(3 * time.Millisecond)
		must("set", v.ev[1].Set())
		must("event", <-done)
		for waiting := true; waiting; {
			must("broadcast", v.cond.Broadcast())
			select {
			case err := <-done:
				must("cond", err)
				waiting = false
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

// hold locks and returns what unlocks later.
func hold(w *world, lock func(context.Context) error, unlock func() error) func() {
	if err := lock(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	return func() {
		if err := unlock(); err != nil {
			w.t.Error(err)
		}
	}
}

// asleep waits until each leader of this process has slept that waiters depend on, or a leader of
// another one sleeps. It gives up after a while: on a loaded machine the leader may have slept, woken
// by its look, and been killed before asleep sees it.
func (w *world) asleep(own bool) {
	p := w.sa.M.Peers
	slept := map[int]bool{}
	for start := time.Now(); time.Since(start) < 5*time.Second; time.Sleep(time.Millisecond) {
		left := 0
		for i := range p.SlotBound() {
			s := p.Slot(i)
			if own != (int(s.PID.Load()) == os.Getpid()) {
				continue
			}
			if s.Sleeping.Load() != 0 {
				slept[i] = true
			} else if own && s.Interest.Load() != 0 && !slept[i] {
				left++
			}
		}
		if left == 0 && len(slept) > 0 {
			time.Sleep(time.Millisecond)
			return
		}
	}
}

// dies lets another child do something and be killed after it.
func (w *world) dies(ops ...string) {
	c := start(w.t, w.path)
	do(w.t, c, ops...)
	c.Kill()
}

// A kill is one case: the child is killed at a step of its last operation.
type kill struct {
	name   string
	at     []step.Point
	first  []string              // what the child does in full
	op     string                // what it is killed in
	during func(w *world) func() // after op has begun; what is returned comes after the death
	start  func(w *world) func() // as during, but before op begins
}

var waitSteps = []step.Point{step.WaitInterest, step.WaitArmed, step.WaitLead, step.WaitSleep}
var wakeSteps = []step.Point{step.WakeArmed, step.WakePending, step.WakeBell, step.WakeRung, step.WakeAll, step.WakeDone}
var wakeOneSteps = []step.Point{step.WakeArmed, step.WakeBaton, step.WakeBell, step.WakeRung, step.WakeAll, step.WakeDone}
var wokenSteps = []step.Point{step.WaitWoken, step.WaitLeave}

func points(p ...any) (all []step.Point) {
	for _, p := range p {
		switch p := p.(type) {
		case step.Point:
			all = append(all, p)
		case []step.Point:
			all = append(all, p...)
		}
	}
	return all
}

var kills = []kill{
	{name: "lock", at: points(step.LockTaken), op: "lock"},
	{name: "lock waits", at: points(step.LockWaiters, waitSteps), op: "lock",
		start: func(w *world) func() { return hold(w, w.a.mu.Lock, w.a.mu.Unlock) }},
	{name: "lock woken", at: points(wokenSteps, step.LockSlow), op: "lock",
		start: func(w *world) func() {
			unlock := hold(w, w.a.mu.Lock, w.a.mu.Unlock)
			w.wg.Go(func() { w.asleep(false); unlock() })
			return nil
		}},
	{name: "unlock", at: points(step.UnlockFree), first: []string{"lock"}, op: "unlock"},
	{name: "unlock wakes", at: points(step.UnlockBegin, step.UnlockFreed, wakeOneSteps, step.UnlockWoken), first: []string{"lock"}, op: "unlock",
		start: func(w *world) func() { w.waits(w.a.useMutex); w.waits(w.b.useMutex); return nil }},
	{name: "lock finds a dead holder", at: points(step.LockDead, step.LockDeadWake), op: "lock",
		start: func(w *world) func() { w.dies("lock"); return nil }},
	{name: "recover", at: points(step.RecoverTaken, step.RecoverRan, step.UnlockFree), op: "recover",
		start: func(w *world) func() { w.dies("lock"); return nil }},
	{name: "recover fails", at: points(step.RecoverTaken, step.RecoverFail), op: "recoverfail",
		start: func(w *world) func() { w.dies("lock"); return nil }},
	{name: "recover with waiters", at: points(step.RecoverTaken, step.RecoverRan), op: "recover",
		start: func(w *world) func() {
			w.dies("lock")
			w.a.mu.Lock(context.Background()) // DEAD
			return nil
		},
		during: func(w *world) func() { w.waits(w.a.useMutex); return nil }},
	{name: "rlock", at: points(step.RLockMark, step.RLockTaken), op: "rlock"},
	{name: "rlock holds up a writer", at: points(step.RLockTaken, step.RLockMark), op: "rlock",
		during: func(w *world) func() { w.waits(w.a.useWrite); w.waits(w.b.useRead); return nil }},
	{name: "rlock waits", at: points(step.LockWaiters, waitSteps), op: "rlock",
		start: func(w *world) func() { return hold(w, w.a.rw.Lock, w.a.rw.Unlock) }},
	{name: "runlock wakes", at: points(step.RUnlockMark, wakeSteps), first: []string{"rlock"}, op: "runlock",
		start: func(w *world) func() { w.waits(w.a.useWrite); w.waits(w.b.useRead); return nil }},
	{name: "write", at: points(step.WriteWord, step.WriteTaken), op: "wlock"},
	{name: "write waits for readers", at: points(step.WriteWord, step.WriteFlag, waitSteps), op: "wlock",
		start: func(w *world) func() { return hold(w, w.a.rw.RLock, w.a.rw.RUnlock) }},
	{name: "write unlocks", at: points(step.UnlockFreed, wakeOneSteps), first: []string{"wlock"}, op: "wunlock",
		start: func(w *world) func() { w.waits(w.a.useRead); w.waits(w.b.useWrite); return nil }},
	{name: "recover of RWMutex", at: points(step.RecoverTaken, step.RecoverRan), op: "recoverrw",
		start: func(w *world) func() { w.dies("wlock"); return nil }},
	{name: "acquire", at: points(step.SemLocked, step.SemTaken), op: "acquire"},
	{name: "acquire waits", at: points(waitSteps), op: "acquire",
		start: func(w *world) func() {
			return hold(w, func(context.Context) error { return w.a.sem.Acquire(context.Background(), 3) }, func() error { return w.a.sem.Release(3) })
		}},
	{name: "acquire reserves", at: points(step.SemReserved), op: "acquire",
		start: func(w *world) func() {
			return hold(w, func(context.Context) error { return w.a.sem.Acquire(context.Background(), 3) }, func() error { return w.a.sem.Release(3) })
		}},
	{name: "acquire frees the permits of a dead holder", at: points(step.SemSwept, step.SemTaken, step.LockTaken), op: "acquire",
		start: func(w *world) func() { w.dies("acquire", "acquire", "acquire"); return nil }},
	{name: "release", at: points(step.SemBack, step.SemBackOut, wakeOneSteps), first: []string{"acquire"}, op: "release",
		start: func(w *world) func() { w.waits(w.a.useSem); w.waits(w.b.useSem); return nil }},
	{name: "table taken over", at: points(step.LockOver, step.SemLocked), op: "acquire",
		start: func(w *world) func() {
			c := start(w.t, w.path)
			c.Send("stop %s", step.SemTaken)
			c.Send("acquire")
			c.Expect(w.t, "reached")
			c.Kill()
			return nil
		}},
	{name: "event", at: points(step.EventSet, wakeSteps), op: "set",
		start: func(w *world) func() { w.waits(w.a.useEvent); w.waits(w.b.useEvent); return nil }},
	{name: "promised event", at: points(step.EventSet), first: []string{"promise"}, op: "set",
		start: func(w *world) func() { w.waits(w.a.useEvent); return nil }},
	{name: "promise", at: points(step.EventPromised), op: "promise",
		start: func(w *world) func() { w.waits(w.a.useEvent); return nil }},
	{name: "event waits", at: points(waitSteps), op: "wait"},
	{name: "broadcast", at: points(step.CondCount, wakeSteps), op: "broadcast",
		start: func(w *world) func() {
			w.waits(func() error {
				if err := w.a.mu.Lock(context.Background()); err != nil {
					return err
				}
				if err := w.a.cond.Wait(context.Background(), &w.a.mu); err != nil {
					return err
				}
				return w.a.mu.Unlock()
			})
			return nil
		}},
	{name: "cond waits", at: points(step.UnlockFree, step.CondOut, waitSteps), first: []string{"lock"}, op: "condwait"},
	{name: "once", at: points(step.OnceIn, step.OnceRan, step.OnceDone, step.UnlockFree), op: "once"},
	{name: "once taken over", at: points(step.LockOver, step.OnceIn), op: "once",
		start: func(w *world) func() {
			c := start(w.t, w.path)
			c.Send("stop %s", step.OnceRan)
			c.Send("once")
			c.Expect(w.t, "reached")
			c.Kill()
			return nil
		}},
}

func newWorld(t *testing.T) *world {
	w := &world{t: t}
	w.path, w.sa, w.a = newSeg(t)
	_, w.b = again(t, w.path)
	if err := w.a.sem.SetLimit(3); err != nil {
		t.Fatal(err)
	}
	return w
}

// tries is how often a case is repeated whose operation ended without the step. Some steps need
// another process in a state that passes: only a leader that sleeps is rung, and each leader wakes
// now and then to look around.
const tries = 20

// kill is one try of a case, in a world of its own. It reports whether the child died at the step;
// else the child died after the operation, which the others survive as well.
func (k kill) kill(t *testing.T, at step.Point) bool {
	w := newWorld(t)
	w.c = start(t, w.path)
	do(t, w.c, k.first...)
	var after []func()
	if k.start != nil {
		after = append(after, k.start(w))
	}
	w.c.Send("stop %s", at)
	w.c.Send("%s", k.op)
	line, err := w.c.Recv()
	reached := line == "reached"
	if err != nil || !reached && line != "did "+k.op {
		t.Fatalf("%s: %q, %v", k.op, line, err)
	}
	if reached && k.during != nil {
		after = append(after, k.during(w))
	}
	w.c.Kill()
	died := time.Now()
	for _, f := range after {
		if f != nil {
			f()
		}
	}
	w.wg.Wait()
	if d := time.Since(died); d > 20*time.Second {
		t.Errorf("the bystanders went on after %v", d)
	}
	w.all()
	if d := time.Since(died); d > 20*time.Second {
		t.Errorf("all was usable after %v", d)
	}
	return reached
}

// TestKill kills a process at every step of every operation; the others go on.
func TestKill(t *testing.T) {
	seen := map[step.Point]bool{
		step.RLockBack: true, // by TestKillBackingOut
		// Waits that fail, and batons for which none waits: in package wait.
		step.WaitPassed: true, step.WakeCarried: true,
	}
	for i, k := range kills {
		for _, at := range k.at {
			seen[at] = true
			if testing.Short() && (at != k.at[0] || i%3 != 0) { // an emulator, perhaps
				continue
			}
			t.Run(k.name+"/"+string(at), func(t *testing.T) {
				t.Parallel()
				for range tries {
					if k.kill(t, at) {
						return
					}
				}
				t.Errorf("%s was done %d times without the step", k.op, tries)
			})
		}
	}
	for _, p := range step.Psync {
		if !seen[p] {
			t.Errorf("no case for %s", p)
		}
	}
}

// TestKillBackingOut: a reader that met a writer dies before and after it takes its mark back.
func TestKillBackingOut(t *testing.T) {
	for _, at := range []step.Point{step.RLockMark, step.RLockBack} {
		w := newWorld(t)
		c := start(t, w.path)
		c.Send("stop %s", step.RLockMark)
		c.Send("rlock")
		c.Expect(t, "reached")
		w.waits(w.a.useWrite) // it has the word and waits for the reader
		if at == step.RLockBack {
			c.Send("stop %s", at)
			c.Send("resume")
			c.Expect(t, "reached")
		}
		c.Kill()
		w.wg.Wait()
		w.all()
	}
}
