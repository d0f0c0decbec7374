package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "changer", Run: changerRole})
}

// A ledger is whole if all its numbers are the same. Between them, and in one word with one of
// them, are a lock and counters that the box's lock does not protect.
type ledger struct {
	A    uint64
	Hits atomic.Uint64
	B    [9]uint64
	Half uint32
	Low  atomic.Uint32
	Mu   psync.Mutex
	C    uint64
	Tail [3]byte
}

func (l *ledger) set(v uint64) {
	l.A = v
	l.half()
	for i := range l.B {
		l.B[i] = v
	}
	l.Half, l.C = uint32(v), v
	l.Tail = [3]byte{byte(v), byte(v), byte(v)}
}

func (l *ledger) half() { step.Reach(changeHalf) }

func (l *ledger) number() (uint64, error) {
	for _, v := range append(l.B[:], uint64(l.Half), l.C, uint64(l.Tail[0]), uint64(l.Tail[1]), uint64(l.Tail[2])) {
		if v != l.A {
			return 0, fmt.Errorf("torn: %v %v %v %v %v", l.A, l.B, l.Half, l.C, l.Tail)
		}
	}
	return l.A, nil
}

// accessSteps are the steps of the access and of the box's own lock.
var accessSteps = append([]step.Point{
	changeHalf, step.LockTaken, step.LockOver, step.WriteWord, step.WriteTaken, step.UnlockBegin, step.UnlockFree, step.UnlockFreed,
	step.RLockMark, step.RLockTaken, step.RUnlockMark,
}, step.Access...)

const changeHalf step.Point = "test.half" // the value is half changed

var errUndo = errors.New("undo")

// changes are what a changer can do to a ledger of 1, to make it 2.
var changes = map[string]struct {
	do     func(*shmem.Box[ledger]) error
	counts step.Point // from this step on the change has happened; "": never
}{
	"update": {func(b *shmem.Box[ledger]) error {
		return b.Update(context.Background(), func(l *ledger) error {
			// What the lock does not protect must not be undone.
			l.Hits.Add(1)
			l.Low.Add(1)
			l.set(2)
			return nil
		})
	}, step.UpdateEven},
	"failed update": {func(b *shmem.Box[ledger]) error {
		err := b.Update(context.Background(), func(l *ledger) error { l.Hits.Add(1); l.Low.Add(1); l.set(2); return errUndo })
		if err != errUndo {
			return fmt.Errorf("Update: %v", err)
		}
		return nil
	}, ""},
	"panicking update": {func(b *shmem.Box[ledger]) error {
		defer func() { _ = recover() }()
		return b.Update(context.Background(), func(l *ledger) error { l.Hits.Add(1); l.Low.Add(1); l.set(2); panic("undo") })
	}, ""},
	"store": {func(b *shmem.Box[ledger]) error {
		var l ledger
		l.set(2)
		return b.StoreFrom(context.Background(), &l)
	}, step.StoreOdd},
	"view": {func(b *shmem.Box[ledger]) error {
		return b.View(context.Background(), func(l *ledger) error { _, err := l.number(); return err })
	}, ""},
}

// changerRole changes the ledger, and kills itself at the step of the given number.
func changerRole(c *shmemtest.Conn) error {
	a := c.Args() // change, directory, number of the deadly step or -1
	deadly, err := strconv.Atoi(a[2])
	if err != nil {
		return err
	}
	box, err := shmem.Attach[ledger]("ledger", &shmem.Options{Dir: a[1]})
	if err != nil {
		return err
	}
	n := 0
	step.Hook(func(p step.Point) {
		if !slices.Contains(accessSteps, p) {
			return
		}
		c.Send("step %s", p)
		if n++; n-1 == deadly {
			shmemtest.Die()
		}
	})
	return changes[a[0]].do(box)
}

// change runs a changer that dies at a step. It returns the steps that the changer has reached.
func change(t *testing.T, what, dir string, deadly int) (reached []step.Point) {
	t.Helper()
	c := shmemtest.Start(t, "changer", what, dir, strconv.Itoa(deadly))
	for {
		line, err := c.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		reached = append(reached, step.Point(strings.TrimPrefix(line, "step ")))
	}
	if err := c.Wait(); deadly < 0 && err != nil || deadly >= 0 && !shmemtest.Killed(err) {
		t.Fatalf("%s, to die at step %d: %v after %v", what, deadly, err, reached)
	}
	return reached
}

func newLedger(t *testing.T) (*shmem.Box[ledger], string) {
	dir := shmemtest.Dir(t)
	b := open[ledger](t, dir, "ledger")
	reset(t, b)
	return b, dir
}

// reset sets the ledger to 1, and leaves another number in the undo image.
func reset(t *testing.T, b *shmem.Box[ledger]) {
	t.Helper()
	for _, v := range []uint64{3, 1} {
		check(t, b.Update(context.Background(), func(l *ledger) error { l.set(v); return nil }))
	}
}

// wantNumber reads the ledger in every way, before and after the lock is taken.
func wantNumber(t *testing.T, b *shmem.Box[ledger], want uint64, after []step.Point) {
	t.Helper()
	hits, low := b.Value().Hits.Load(), b.Value().Low.Load()
	look := func(how string, f func(*ledger) error) {
		t.Helper()
		var got uint64
		start := time.Now()
		var l ledger
		err := f(&l)
		if err == nil {
			got, err = l.number()
		}
		if err != nil || got != want {
			t.Errorf("%s after a death at %v: %d, %v; want %d", how, after, got, err, want)
		}
		if l.Hits.Load() != hits || l.Low.Load() != low {
			t.Errorf("%s: the counters are %d and %d, want %d and %d", how, l.Hits.Load(), l.Low.Load(), hits, low)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s took %v", how, d)
		}
	}
	copied := func(to *ledger) func(*ledger) error {
		return func(l *ledger) error {
			to.set(l.A)
			to.B, to.Half, to.C, to.Tail = l.B, l.Half, l.C, l.Tail
			to.Hits.Store(l.Hits.Load())
			to.Low.Store(l.Low.Load())
			return nil
		}
	}
	look("Load", func(l *ledger) error { return b.LoadTo(context.Background(), l) })
	look("View", func(l *ledger) error { return b.View(context.Background(), copied(l)) })
	look("Update", func(l *ledger) error { return b.Update(context.Background(), copied(l)) })
	look("Load after that", func(l *ledger) error { return b.LoadTo(context.Background(), l) })
	if err := b.Value().Mu.Lock(context.Background()); err != nil {
		t.Errorf("the lock in the ledger: %v", err)
	}
	b.Value().Mu.Unlock()
}

// TestKillAccess kills a process at every step of View, Update and Store. The value must be the
// old one or the new one, whole, and other processes must continue.
func TestKillAccess(t *testing.T) {
	reached := map[step.Point]bool{}
	for what, c := range changes {
		t.Run(what, func(t *testing.T) {
			b, dir := newLedger(t)
			whole := change(t, what, dir, -1)
			for i := range whole {
				// The steps of a copy repeat: take the first, some in the middle and the last.
				if i > 1 && i+1 < len(whole) && whole[i-1] == whole[i] && whole[i+1] == whole[i] && i%5 != 0 {
					continue
				}
				reset(t, b)
				got := change(t, what, dir, i)
				want := uint64(1)
				if c.counts != "" && slices.Contains(got, c.counts) {
					want = 2
				}
				wantNumber(t, b, want, got)
			}
			for _, p := range whole {
				reached[p] = true
			}
		})
	}
	t.Run("recovery of a recovery", func(t *testing.T) {
		b, dir := newLedger(t)
		for _, first := range []struct {
			what string
			at   step.Point
			want uint64
		}{{"update", changeHalf, 1}, {"store", step.StoreWord, 2}} {
			steps := change(t, first.what, dir, -1)
			reset(t, b)
			die := func() { change(t, first.what, dir, slices.Index(steps, first.at)) }
			die()
			recovery := change(t, "view", dir, -1)
			for _, p := range recovery {
				reached[p] = true
			}
			for i := range recovery {
				if i > 1 && i+1 < len(recovery) && recovery[i-1] == recovery[i] && recovery[i+1] == recovery[i] {
					continue
				}
				reset(t, b)
				die()
				change(t, "view", dir, i)
				change(t, "view", dir, min(i, 1))
				wantNumber(t, b, first.want, recovery[:i+1])
			}
		}
	})
	if testing.Short() || t.Failed() {
		return
	}
	for _, p := range step.Access {
		if !reached[p] {
			t.Errorf("step %s is never reached", p)
		}
	}
}

// TestKilledWithoutImage kills a process over a value without undo image: calls return
// ErrOwnerDied until Recover has repaired the value.
func TestKilledWithoutImage(t *testing.T) {
	dir := shmemtest.Dir(t)
	b, err := shmem.Open[ledger]("ledger", &shmem.Options{Dir: dir, Undo: shmem.UndoNever})
	opened(t, b, err)
	steps := change(t, "update", dir, -1)
	change(t, "update", dir, slices.Index(steps, changeHalf))
	nothing := func(*ledger) error { t.Error("the function ran"); return nil }
	wantErr(t, b.View(context.Background(), nothing), shmem.ErrOwnerDied, "Options.Undo")
	wantErr(t, b.Update(context.Background(), nothing), shmem.ErrOwnerDied)
	wantErr(t, b.StoreFrom(context.Background(), new(ledger)), shmem.ErrOwnerDied)
	reader, err := shmem.Attach[ledger]("ledger", &shmem.Options{Dir: dir, ReadOnly: true})
	opened(t, reader, err)
	for _, b := range []*shmem.Box[ledger]{b, reader} {
		wantErr(t, b.LoadTo(context.Background(), new(ledger)), shmem.ErrOwnerDied, "Options.Undo")
		wantErr(t, b.Wait(context.Background(), b.Version()), shmem.ErrOwnerDied)
		for _, err := range b.Watch(context.Background()) {
			wantErr(t, err, shmem.ErrOwnerDied)
		}
	}
	if err := b.Recover(context.Background(), func(*ledger) error { return errUndo }); err != errUndo {
		t.Errorf("a repair that fails: %v", err)
	}
	wantErr(t, b.Update(context.Background(), nothing), shmem.ErrOwnerDied)
	check(t, b.Recover(context.Background(), func(l *ledger) error { l.set(7); return nil }))
	wantNumber(t, b, 7, steps)
	check(t, b.Recover(context.Background(), nothing))
}

// TestLoadWithoutImage: Load of a value without undo image waits for the change that is under way.
func TestLoadWithoutImage(t *testing.T) {
	dir := shmemtest.Dir(t)
	opts := &shmem.Options{Dir: dir, Undo: shmem.UndoNever}
	b, err := shmem.Open[ledger]("ledger", opts)
	opened(t, b, err)
	other := attach[ledger](t, dir, "ledger")
	reader, err := shmem.Attach[ledger]("ledger", &shmem.Options{Dir: dir, ReadOnly: true})
	opened(t, reader, err)
	in, out := make(chan bool), make(chan bool)
	updated := make(chan error)
	go func() {
		updated <- b.Update(context.Background(), func(l *ledger) error {
			in <- true
			<-out
			l.set(7)
			return nil
		})
	}()
	<-in
	loaded := make(chan error)
	for _, b := range []*shmem.Box[ledger]{b, other, reader} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		wantErr(t, b.LoadTo(ctx, new(ledger)), context.DeadlineExceeded)
		cancel()
		go func() {
			var l ledger
			err := b.LoadTo(context.Background(), &l)
			if err == nil && l.A != 7 {
				t.Errorf("Load has %d, want 7", l.A)
			}
			loaded <- err
		}()
	}
	time.Sleep(10 * time.Millisecond)
	close(out)
	check(t, <-updated)
	for range 3 {
		check(t, <-loaded)
	}
}

// TestAccessReadOnly checks which calls work on a read-only box.
func TestAccessReadOnly(t *testing.T) {
	b, dir := newLedger(t)
	r, err := shmem.Attach[ledger]("ledger", &shmem.Options{Dir: dir, ReadOnly: true})
	opened(t, r, err)
	var l ledger
	if err := r.LoadTo(context.Background(), &l); err != nil || l.A != 1 {
		t.Errorf("Load: %v, %v", l.A, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), shmemtest.DefaultLimit)
	defer cancel()
	seen := r.Version()
	go b.StoreFrom(ctx, new(ledger))
	check(t, r.Wait(ctx, seen))
	none := func(*ledger) error { return nil }
	for _, err := range []error{r.View(ctx, none), r.Update(ctx, none), r.StoreFrom(ctx, new(ledger)), r.Recover(ctx, none)} {
		wantErr(t, err, shmem.ErrReadOnly, "Load")
	}
}

// TestCloseWakes checks that calls that block return ErrClosed when the box is closed.
func TestCloseWakes(t *testing.T) {
	b, dir := newLedger(t)
	other := attach[ledger](t, dir, "ledger")
	in, out := make(chan bool), make(chan bool)
	go other.Update(context.Background(), func(*ledger) error { in <- true; <-out; return nil })
	<-in
	errs := make(chan error, 3)
	none := func(*ledger) error { return nil }
	go func() { errs <- b.Update(context.Background(), none) }()
	go func() { errs <- b.View(context.Background(), none) }()
	go func() { errs <- b.Wait(context.Background(), b.Version()) }()
	time.Sleep(50 * time.Millisecond) // the calls block by now, most likely; if not, their errors are the same
	check(t, b.Close())
	for range 3 {
		wantErr(t, <-errs, shmem.ErrClosed)
	}
	out <- true
}
