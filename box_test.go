package shmem_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/tests/boxtest"
)

// A point has neither Init nor Drop.
type point struct{ X, Y int64 }

func TestShare(t *testing.T) {
	dir := shmemtest.Dir(t)
	one := open[point](t, dir, "p")
	two := open[point](t, dir, "p")
	one.Value().X = 7
	if two.Value().X != 7 || !one.Owned() || two.Owned() {
		t.Errorf("the second handle sees %+v; owned %v and %v", *two.Value(), one.Owned(), two.Owned())
	}
	if s := two.Segment(); s.Name() != "p" || s.Size() != 16 || s.ReadOnly() || s.Foreign() || !s.Linked() {
		t.Errorf("the segment is %q, %d bytes, read-only %v, foreign %v, linked %v", s.Name(), s.Size(), s.ReadOnly(), s.Foreign(), s.Linked())
	}
	check(t, one.Close())
	wantNames(t, dir)
	if two.Segment().Linked() || two.Value().X != 7 {
		t.Error("after the owner's Close the other handle is still linked, or has lost the value")
	}
	three := open[point](t, dir, "p")
	if !three.Owned() || three.Value().X != 0 {
		t.Error("the name does not lead to a new box")
	}
	check(t, two.Close())
	if !three.Segment().Linked() {
		t.Error("the Close of an old handle has unlinked a new box")
	}
}

func TestCreateAndAttach(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	_, err := shmem.Attach[point]("p", o)
	wantErr(t, err, fs.ErrNotExist, "attach p", dir)
	b, err := shmem.Create[point]("p", o)
	b = opened(t, b, err)
	_, err = shmem.Create[point]("p", o)
	wantErr(t, err, fs.ErrExist, "create p")
	check(t, b.Close())
	_, err = shmem.Attach[point]("p", o)
	wantErr(t, err, fs.ErrNotExist)
}

func TestNonOwnerOnlyDetaches(t *testing.T) {
	dir, n := shmemtest.Dir(t), drops(t)
	b := open[guest](t, dir, "g")
	check(t, attach[guest](t, dir, "g").Close())
	if *n != 0 || !b.Segment().Linked() {
		t.Errorf("after a guest has left: %d drops, linked %v", *n, b.Segment().Linked())
	}
	check(t, b.Close())
	check(t, b.Close())
	if *n != 1 {
		t.Errorf("%d drops, want 1", *n)
	}
}

func TestLeak(t *testing.T) {
	dir, n := shmemtest.Dir(t), drops(t)
	b := open[guest](t, dir, "g")
	b.Value().N = 5
	check(t, b.Leak())
	b = attach[guest](t, dir, "g")
	if b.Value().N != 5 || b.Owned() || *n != 0 {
		t.Errorf("after Leak: %d, owned %v, %d drops", b.Value().N, b.Owned(), *n)
	}
	check(t, b.Leak()) // no attachment owns it: as Close
	check(t, open[guest](t, dir, "g").Close())
	wantNames(t, dir, "g")
	b = attach[guest](t, dir, "g")
	check(t, b.Own())
	check(t, b.Close())
	wantNames(t, dir)
	if *n != 1 {
		t.Errorf("%d drops, want 1", *n)
	}
}

func TestLeakByNonOwner(t *testing.T) {
	dir, n := shmemtest.Dir(t), drops(t)
	b := open[guest](t, dir, "g")
	check(t, attach[guest](t, dir, "g").Leak())
	if !b.Owned() {
		t.Error("the Leak of another has taken the ownership away")
	}
	check(t, b.Close())
	wantNames(t, dir)
	if *n != 1 {
		t.Errorf("%d drops, want 1", *n)
	}
}

func TestOwnFromLiveOwner(t *testing.T) {
	dir, n := shmemtest.Dir(t), drops(t)
	old, now := open[guest](t, dir, "g"), attach[guest](t, dir, "g")
	check(t, now.Own())
	if old.Owned() || !now.Owned() {
		t.Errorf("owned: %v by the former owner, %v by the new one", old.Owned(), now.Owned())
	}
	check(t, old.Close())
	if *n != 0 || !now.Segment().Linked() {
		t.Error("the former owner's Close did more than detach")
	}
	check(t, now.Own()) // a second Own changes nothing
	check(t, now.Close())
	if wantNames(t, dir); *n != 1 {
		t.Errorf("%d drops, want 1", *n)
	}
}

func TestOwnAfterDropped(t *testing.T) {
	dir := shmemtest.Dir(t)
	owner, other := open[guest](t, dir, "g"), attach[guest](t, dir, "g")
	check(t, owner.Close())
	wantErr(t, other.Own(), shmem.ErrDropped, "own g")
	check(t, other.Close())
	wantErr(t, other.Own(), shmem.ErrClosed)
}

func TestKept(t *testing.T) {
	dir := shmemtest.Dir(t)
	b, err := shmem.Create[point]("p", &shmem.Options{Dir: dir, Lifetime: shmem.Kept})
	b = opened(t, b, err)
	if b.Owned() {
		t.Error("the creator of a kept box owns it")
	}
	check(t, b.Close())
	wantNames(t, dir, "p")
	check(t, shmem.Remove(dir, "p"))
}

func TestLastOutOfAnOrphan(t *testing.T) {
	dir, n := shmemtest.Dir(t), drops(t)
	owner, one, two := open[guest](t, dir, "g"), attach[guest](t, dir, "g"), attach[guest](t, dir, "g")
	shmem.Abandon(owner.Segment())
	check(t, one.Close())
	if wantNames(t, dir, "g"); *n != 0 {
		t.Errorf("%d drops while another is attached", *n)
	}
	check(t, two.Close())
	if wantNames(t, dir); *n != 1 {
		t.Errorf("%d drops, want 1 by the last one out", *n)
	}
}

// TestLastTwoOutOfAnOrphan closes the last two attachments of an orphaned box at the same time: the
// second one from beginning to end at some step of the first. Each may still see the other one.
func TestLastTwoOutOfAnOrphan(t *testing.T) {
	for _, at := range []step.Point{
		step.DetachRead, step.DetachUnlock, step.DetachLook, step.DetachDrop, step.DetachSlot,
	} {
		t.Run(string(at), func(t *testing.T) {
			dir, n := shmemtest.Dir(t), drops(t)
			owner, one, two := open[guest](t, dir, "g"), attach[guest](t, dir, "g"), attach[guest](t, dir, "g")
			shmem.Abandon(owner.Segment())
			left := false
			step.Hook(func(p step.Point) {
				if p == at && !left {
					left = true
					check(t, two.Close())
				}
			})
			defer step.Hook(nil)
			check(t, one.Close())
			if wantNames(t, dir); *n != 1 || !left {
				t.Errorf("%d drops, want 1: each has counted the other as attached", *n)
			}
		})
	}
}

func TestLastOutSegmentOnlyUnlinks(t *testing.T) {
	dir, n := shmemtest.Dir(t), drops(t)
	owner := open[guest](t, dir, "g")
	s, err := shmem.AttachSegment("g", &shmem.Options{Dir: dir})
	s = segment(t, s, err)
	shmem.Abandon(owner.Segment())
	check(t, s.Close())
	if wantNames(t, dir); *n != 0 {
		t.Errorf("%d drops, want none by a segment", *n)
	}
}

// hopeful counts its Inits, and fails while hopefulErr is set.
type hopeful struct{ N int64 }

var (
	hopefulInits int
	hopefulErr   error
)

func (h *hopeful) Init() error { hopefulInits++; h.N = 42; return hopefulErr }

func TestInit(t *testing.T) {
	dir := shmemtest.Dir(t)
	hopefulInits, hopefulErr = 0, errors.New("no luck")
	_, err := shmem.Open[hopeful]("h", &shmem.Options{Dir: dir})
	wantErr(t, err, hopefulErr, "open h", "Init", "no luck")
	wantNames(t, dir)
	hopefulErr = nil
	open[hopeful](t, dir, "h")
	if h := open[hopeful](t, dir, "h"); h.Value().N != 42 || hopefulInits != 2 {
		t.Errorf("value %d after %d runs of Init, want 42 after 2", h.Value().N, hopefulInits)
	}
}

// eager calls onInit in Init.
type eager struct{ N int64 }

var onInit func(*eager) error

func (e *eager) Init() error { return onInit(e) }

func TestInitSeesNoName(t *testing.T) {
	dir, calls := shmemtest.Dir(t), 0
	onInit = func(e *eager) error {
		calls++
		if exists(dir, "e") {
			t.Error("the name exists while Init runs")
		}
		e.N += 1
		return nil
	}
	if b := open[eager](t, dir, "e"); b.Value().N != 1 || calls != 1 {
		t.Errorf("value %d after %d calls of Init, want 1 after 1", b.Value().N, calls)
	}
}

func TestInitPanics(t *testing.T) {
	dir := shmemtest.Dir(t)
	onInit = func(*eager) error { panic("ouch") }
	defer func() {
		if r := recover(); r != "ouch" {
			t.Errorf("recovered %v, want the panic of Init", r)
		}
		wantNames(t, dir)
	}()
	_, _ = shmem.Open[eager]("e", &shmem.Options{Dir: dir})
}

// Init runs at most once for each Open, also when the race to create is lost and won again.
func TestInitOnceAnOpen(t *testing.T) {
	dir, calls := shmemtest.Dir(t), 0
	onInit = func(*eager) error {
		if calls++; calls == 1 {
			open[eager](t, dir, "e") // another handle is faster
		}
		return nil
	}
	b, err := shmem.Open[eager]("e", &shmem.Options{Dir: dir})
	if b = opened(t, b, err); calls != 2 || b.Owned() {
		t.Errorf("%d calls of Init, want one for each Open; the loser owns the box: %v", calls, b.Owned())
	}
}

func TestDropSeesNoName(t *testing.T) {
	dir := shmemtest.Dir(t)
	var again *shmem.Box[guest]
	boxtest.OnDrop = func(g *guest) {
		boxtest.OnDrop = nil
		if exists(dir, "g") || g.N != 3 {
			t.Errorf("Drop sees the name, or not the value: %d", g.N)
		}
		again = open[guest](t, dir, "g") // a new one of the same name
	}
	b := open[guest](t, dir, "g")
	b.Value().N = 3
	check(t, b.Close())
	if again == nil || !again.Owned() || again.Value().N != 0 || !again.Segment().Linked() {
		t.Error("the box that Drop opened is not a new one")
	}
}

func TestDropPanics(t *testing.T) {
	dir, n := shmemtest.Dir(t), 0
	boxtest.OnDrop = func(*guest) { n++; panic("ouch") }
	defer func() { boxtest.OnDrop = nil }()
	b, other := open[guest](t, dir, "g"), attach[guest](t, dir, "g")
	func() {
		defer func() {
			if r := recover(); r != "ouch" {
				t.Errorf("recovered %v, want the panic of Drop", r)
			}
		}()
		_ = b.Close()
	}()
	wantNames(t, dir)
	check(t, b.Close())
	check(t, other.Close())
	if n != 1 || b.Value() != nil {
		t.Errorf("%d drops; value %v", n, b.Value())
	}
}

// A Drop that ends its goroutine, as t.FailNow does, ends the attachment all the same.
func TestDropGoexit(t *testing.T) {
	dir := shmemtest.Dir(t)
	boxtest.OnDrop = func(*guest) { runtime.Goexit() }
	defer func() { boxtest.OnDrop = nil }()
	b := open[guest](t, dir, "g")
	done := make(chan struct{})
	go func() { defer close(done); _ = b.Close() }()
	<-done
	wantMapped(t, dir, false)
}

// wantMapped checks whether this process has a file of dir mapped.
func wantMapped(t testing.TB, dir string, want bool) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	check(t, err)
	if got := strings.Contains(string(maps), dir+"/"); got != want {
		t.Errorf("a file of the directory is mapped: %v, want %v", got, want)
	}
}

func TestDropMayUseItsBox(t *testing.T) {
	dir := shmemtest.Dir(t)
	b := open[guest](t, dir, "g")
	boxtest.OnDrop = func(*guest) {
		if b.Owned() || b.Value() != nil || b.Segment().Linked() || b.Close() != nil {
			t.Error("in Drop the box is not closed")
		}
	}
	defer func() { boxtest.OnDrop = nil }()
	within(t, func() { check(t, b.Close()) })
}

// within fails the test if f does not return within 20 seconds.
func within(t testing.TB, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		buf := make([]byte, 1<<16)
		t.Fatalf("it hangs:\n%s", buf[:runtime.Stack(buf, true)])
	}
}

func TestClosed(t *testing.T) {
	b := open[point](t, shmemtest.Dir(t), "p")
	s := b.Segment()
	check(t, b.Close())
	check(t, b.Close())
	check(t, b.Leak())
	check(t, s.Close())
	if b.Value() != nil || b.Owned() {
		t.Errorf("after Close: value %v, owned %v", b.Value(), b.Owned())
	}
	wantErr(t, b.Do(func(*point) error { return nil }), shmem.ErrClosed, "do p")
	wantErr(t, b.Own(), shmem.ErrClosed)
	_, err := s.ReadAt(make([]byte, 1), 0)
	wantErr(t, err, shmem.ErrClosed, "read p")
	_, err = s.WriteAt(make([]byte, 1), 0)
	wantErr(t, err, shmem.ErrClosed)
	_, err = s.File()
	wantErr(t, err, shmem.ErrClosed)
	_, err = shmem.BoxOf[point](s)
	wantErr(t, err, shmem.ErrClosed)
	wantErr(t, s.Populate(), shmem.ErrClosed)
}

// fault reports whether f faults.
func fault(f func()) (faulted bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if e, ok := recover().(interface{ Addr() uintptr }); ok {
			faulted = e.Addr() != 0
		}
	}()
	f()
	return false
}

func TestStalePointer(t *testing.T) {
	needsFaults(t)
	dir := shmemtest.Dir(t)
	b := open[point](t, dir, "old")
	stale := b.Value()
	check(t, b.Close())
	// No later mapping is at the old address.
	for i := range 50 {
		fresh := open[point](t, dir, "new"+string(rune('a'+i%26)))
		if fresh.Value() == stale {
			t.Fatal("a new box is where a stale pointer points")
		}
		if i%2 == 0 {
			check(t, fresh.Close())
		}
	}
	if !fault(func() { stale.X = 1 }) || !fault(func() { _ = fmt.Sprint(stale.Y) }) {
		t.Error("a stale pointer does not fault")
	}
}

func TestDo(t *testing.T) {
	dir := shmemtest.Dir(t)
	b := open[point](t, dir, "p")
	mine := errors.New("mine")
	if err := b.Do(func(p *point) error { p.X = 9; return mine }); err != mine {
		t.Errorf("error %v, want the function's own", err)
	}
	check(t, b.Do(func(p *point) error {
		if p.X != 9 || p != b.Value() {
			t.Errorf("Do gives %+v", *p)
		}
		return nil
	}))
	func() {
		defer func() {
			if r := recover(); r != "ouch" {
				t.Errorf("recovered %v, want the function's panic", r)
			}
		}()
		_ = b.Do(func(*point) error { panic("ouch") })
	}()
	if !fault(func() { _ = b.Do(func(*point) error { var p *point; p.X = 1; return nil }) }) {
		// A nil pointer is at address 0: fault is false, and the panic has passed.
		var re runtime.Error
		func() {
			defer func() { re, _ = recover().(runtime.Error) }()
			_ = b.Do(func(*point) error { var p *point; p.X = 1; return nil })
		}()
		if re == nil {
			t.Error("a nil dereference in Do does not pass")
		}
	}
	within(t, func() { check(t, b.Close()) }) // no call has left a pin
}

func TestDoWritesReadOnly(t *testing.T) {
	needsFaults(t)
	dir := shmemtest.Dir(t)
	open[point](t, dir, "p")
	b, err := shmem.Attach[point]("p", &shmem.Options{Dir: dir, ReadOnly: true})
	check(t, err)
	defer b.Close()
	err = b.Do(func(p *point) error { p.X++; return nil })
	wantErr(t, err, shmem.ErrFault, "do p", "read-only", "without Options.ReadOnly")
	if f, ok := errors.AsType[*shmem.FaultError](err); !ok || !f.ReadOnly {
		t.Errorf("detail %+v", f)
	}
}

func TestDoAfterTruncation(t *testing.T) {
	needsFaults(t)
	dir := shmemtest.Dir(t)
	b := open[point](t, dir, "p")
	check(t, os.Truncate(filepath.Join(dir, "p"), 0))
	err := b.Do(func(p *point) error { p.X++; return nil })
	wantErr(t, err, shmem.ErrFault, "do p", "truncated")
	f, ok := errors.AsType[*shmem.FaultError](err)
	if !ok || f.Addr == 0 || f.Name != filepath.Join(dir, "p") {
		t.Errorf("detail %+v", f)
	}
	_, err = b.Segment().ReadAt(make([]byte, 8), 0)
	wantErr(t, err, shmem.ErrFault)
	_, err = b.Segment().WriteAt(make([]byte, 8), 0)
	wantErr(t, err, shmem.ErrFault)
	if b.Owned() {
		t.Error("owned, by a control block that is gone")
	}
	wantErr(t, b.Own(), shmem.ErrCorrupt, "truncated")
	wantErr(t, b.Close(), shmem.ErrCorrupt)
	check(t, shmem.Remove(dir, "p"))
}

// TestAccessAfterTruncation checks that every fault becomes the error of a call, and that a call
// that has faulted blocks no later one.
func TestAccessAfterTruncation(t *testing.T) {
	needsFaults(t)
	dir := shmemtest.Dir(t)
	b := open[point](t, dir, "p")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	wantErr(t, b.Wait(ctx, b.Version()), context.DeadlineExceeded) // Close now has a waiter to wake
	check(t, os.Truncate(filepath.Join(dir, "p"), 0))
	none := func(*point) error { return nil }
	within(t, func() {
		for range 2 {
			wantErr(t, b.View(ctx, none), shmem.ErrFault)
			wantErr(t, b.Update(ctx, none), shmem.ErrFault)
			wantErr(t, b.Store(ctx, point{}), shmem.ErrFault)
			_, err := b.Load(ctx)
			wantErr(t, err, shmem.ErrFault)
			wantErr(t, b.Wait(t.Context(), 0), shmem.ErrFault)
			if v := b.Version(); v != 0 {
				t.Errorf("version %d of nothing", v)
			}
		}
		wantErr(t, b.Close(), shmem.ErrCorrupt)
	})
	check(t, shmem.Remove(dir, "p"))
}

func TestCloseWaitsForDo(t *testing.T) {
	b := open[point](t, shmemtest.Dir(t), "p")
	in, out := make(chan struct{}), make(chan struct{})
	var closed atomic.Bool
	done := make(chan error)
	go func() {
		done <- b.Do(func(p *point) error {
			close(in)
			<-out
			p.X = 1 // the memory must still be there
			if closed.Load() {
				return errors.New("Close did not wait")
			}
			return nil
		})
	}()
	<-in
	closing := make(chan error)
	go func() { err := b.Close(); closed.Store(true); closing <- err }()
	for b.Value() != nil {
		time.Sleep(time.Millisecond)
	}
	close(out)
	within(t, func() { check(t, errors.Join(<-done, <-closing)) })
}

// Methods called by a function in Do must not wait for the Close that waits for that function.
func TestDoAsksItsBoxDuringClose(t *testing.T) {
	b := open[point](t, shmemtest.Dir(t), "p")
	done := make(chan error)
	in := make(chan struct{})
	go func() {
		done <- b.Do(func(*point) error {
			close(in)
			for b.Value() != nil { // until Close has begun
				time.Sleep(time.Millisecond)
			}
			b.Owned()
			if err := b.Own(); !errors.Is(err, shmem.ErrClosed) {
				return errors.New("Own during Close succeeds")
			}
			return nil
		})
	}()
	<-in
	within(t, func() { check(t, errors.Join(b.Close(), <-done)) })
}

func TestBoxOf(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	s, err := shmem.OpenSegment("s", 64, o)
	s = segment(t, s, err)
	if info, err := shmem.Stat(o.Dir, "s"); err != nil || info.Type != "" || info.Fingerprint != 0 {
		t.Errorf("an untyped segment has type %q (%v)", info.Type, err)
	}
	_, err = shmem.BoxOf[[65]byte](s)
	wantErr(t, err, shmem.ErrMismatch, "65", "64")
	_, err = shmem.BoxOf[struct{ P *int }](s)
	wantErr(t, err, shmem.ErrBadType, "P")

	b, err := shmem.BoxOf[point](s)
	check(t, err)
	b.Value().X = 3
	if _, err := shmem.BoxOf[point](s); err == nil {
		t.Error("a segment has two boxes")
	}
	if info, _ := shmem.Stat(o.Dir, "s"); !strings.Contains(info.Type, "point") || info.Fingerprint == 0 || info.Size != 64 {
		t.Errorf("after BoxOf the type is %q, the size %d", info.Type, info.Size)
	}
	// The first BoxOf has stored the type.
	if attach[point](t, dir, "s").Value().X != 3 {
		t.Error("an attached box does not see the value")
	}
	_, err = shmem.Attach[[2]float64]("s", o)
	wantErr(t, err, shmem.ErrMismatch)
	other, err := shmem.AttachSegment("s", o)
	other = segment(t, other, err)
	_, err = shmem.BoxOf[[8]uint64](other)
	wantErr(t, err, shmem.ErrMismatch)
	_, err = shmem.BoxOf[point](other)
	check(t, err)
	check(t, b.Close())
	if wantErr(t, b.Own(), shmem.ErrClosed); exists(dir, "s") {
		t.Error("closing the box did not close the segment")
	}
}

func TestBoxOfReadOnlyStoresNothing(t *testing.T) {
	dir := shmemtest.Dir(t)
	s, err := shmem.CreateSegment("s", 64, &shmem.Options{Dir: dir})
	segment(t, s, err)
	r, err := shmem.AttachSegment("s", &shmem.Options{Dir: dir, ReadOnly: true})
	r = segment(t, r, err)
	_, err = shmem.BoxOf[point](r)
	check(t, err)
	if info, _ := shmem.Stat(dir, "s"); info.Type != "" {
		t.Errorf("a reader has stored type %q", info.Type)
	}
}

func TestMismatch(t *testing.T) {
	dir := shmemtest.Dir(t)
	type limits struct {
		Rate  uint32
		Limit uint64
	}
	{
		type limits struct {
			Rate  uint32
			Limit uint32
		}
		open[limits](t, dir, "l")
	}
	_, err := shmem.Open[limits]("l", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrMismatch, "open l", "Limit", "uint64", "uint32", filepath.Base(os.Args[0])[:8], "ago")
	m, ok := errors.AsType[*shmem.MismatchError](err)
	if !strings.HasSuffix(err.Error(), "its programs have ended") {
		t.Errorf("no remedy: %v", err)
	}
	if !ok || len(m.Differences) == 0 || m.Program == "" || time.Since(m.Created) > time.Hour {
		t.Errorf("detail %+v", m)
	}
	_, err = shmem.OpenSegment("l", 4096, &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrMismatch, "4096", "8")
	s, err := shmem.OpenSegment("l", 0, &shmem.Options{Dir: dir})
	if segment(t, s, err).Size() != 8 {
		t.Errorf("size 0 attaches to %d bytes", s.Size())
	}
}

func TestBadTypes(t *testing.T) {
	dir := shmemtest.Dir(t)
	_, err := shmem.Open[struct{ Routes [4]struct{ Name string } }]("b", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrBadType, "Routes[].Name", "string", "Text")
	if e, ok := errors.AsType[*shmem.TypeError](err); !ok || e.Type.Kind() != reflect.String || !strings.HasSuffix(e.Path, "Routes[].Name") {
		t.Errorf("detail %+v", e)
	}
	_, err = shmem.Open[*point]("b", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrBadType, "open b: *shmem_test.point is a Go pointer")
	_, err = shmem.Open[struct{}]("b", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrBadType)
}

type (
	short struct{ A uint32 }
	long  struct{ A, B, C uint32 }
	wide  struct {
		A uint32
		B [100]uint32
	}
)

func TestAppend(t *testing.T) {
	dir := shmemtest.Dir(t)
	grow := &shmem.Options{Dir: dir, Append: true}
	b, err := shmem.Create[short]("a", &shmem.Options{Dir: dir, Reserve: 8})
	old := opened(t, b, err)
	old.Value().A = 1
	_, err = shmem.Attach[long]("a", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrMismatch, "B")
	_, err = shmem.Attach[wide]("a", grow)
	wantErr(t, err, shmem.ErrMismatch, "room", "Reserve")
	_, err = shmem.Attach[long]("a", &shmem.Options{Dir: dir, Append: true, ReadOnly: true})
	wantErr(t, err, shmem.ErrMismatch, "read-only")

	l, err := shmem.Attach[long]("a", grow)
	l = opened(t, l, err)
	if *l.Value() != (long{A: 1}) || l.Segment().Size() != 12 {
		t.Errorf("after growth: %+v in %d bytes; spare room is zero", *l.Value(), l.Segment().Size())
	}
	l.Value().C = 3
	if attach[long](t, dir, "a").Value().C != 3 {
		t.Error("the longer type is not what the segment holds now")
	}
	// The shorter type attaches to the longer one, and need not ask for that: the creator did.
	for _, o := range []*shmem.Options{grow, {Dir: dir}, {Dir: dir, Reserve: 8}} {
		s, err := shmem.Attach[short]("a", o)
		if s = opened(t, s, err); s.Value().A != 1 {
			t.Errorf("the shorter type sees %+v", *s.Value())
		}
	}
	_, err = shmem.Attach[point]("a", grow)
	wantErr(t, err, shmem.ErrMismatch)
}

// TestAppendUndo checks that a change by the shorter type keeps the appended fields in the undo
// image, where readers and recovery take them from.
func TestAppendUndo(t *testing.T) {
	if robust.RaceEnabled {
		t.Log("Load waits for Update there")
		return
	}
	dir := shmemtest.Dir(t)
	b, err := shmem.Create[short]("a", &shmem.Options{Dir: dir, Reserve: 8})
	old := opened(t, b, err)
	check(t, old.Store(context.Background(), short{1})) // by the type without the appended field
	l, err := shmem.Attach[long]("a", &shmem.Options{Dir: dir, Append: true})
	l = opened(t, l, err)
	check(t, l.Store(context.Background(), long{A: 1, C: 2}))
	check(t, l.Update(context.Background(), func(v *long) error { v.C = 3; return nil }))
	want := func(a uint32) {
		t.Helper()
		if v, err := l.Load(context.Background()); err != nil || v != (long{A: a, C: 3}) {
			t.Errorf("%+v, %v, want C 3", v, err)
		}
	}
	check(t, old.Update(context.Background(), func(*short) error { want(1); return nil }))
	failed := errors.New("failed")
	if err := old.Update(context.Background(), func(v *short) error { v.A = 9; want(1); return failed }); err != failed {
		t.Errorf("error %v, want %v", err, failed)
	}
	want(1)
	check(t, old.Store(context.Background(), short{2}))
	want(2)
}

func TestReadOnlyByWish(t *testing.T) {
	needsFaults(t)
	dir := shmemtest.Dir(t)
	b := open[point](t, dir, "p")
	o := &shmem.Options{Dir: dir, ReadOnly: true}
	r, err := shmem.Open[point]("p", o)
	r = opened(t, r, err)
	b.Value().Y = 8
	if !r.Segment().ReadOnly() || r.Value().Y != 8 {
		t.Errorf("read-only %v, value %+v", r.Segment().ReadOnly(), *r.Value())
	}
	if !fault(func() { r.Value().Y = 9 }) || b.Value().Y != 8 {
		t.Error("a write through a read-only box does not fault")
	}
	wantErr(t, r.Own(), shmem.ErrReadOnly)
	_, err = r.Segment().WriteAt([]byte{1}, 0)
	wantErr(t, err, shmem.ErrReadOnly)
	if info, err := shmem.Stat(o.Dir, "p"); err != nil || len(info.Peers) != 2 || info.Peers[0].ReadOnly || !info.Peers[1].ReadOnly || info.Readers {
		t.Errorf("peers %+v, readers %v (%v)", info.Peers, info.Readers, err)
	}
	_, err = shmem.Create[point]("q", o)
	wantErr(t, err, shmem.ErrReadOnly)
	_, err = shmem.Open[point]("q", o) // never creates
	wantErr(t, err, fs.ErrNotExist, "ReadOnly")
	// A read-only attachment with a slot keeps an orphaned segment, and unlinks it when it is the
	// last one.
	shmem.Abandon(b.Segment())
	check(t, r.Close())
	wantNames(t, dir)
}

func TestLinked(t *testing.T) {
	for name, unlink := range map[string]func(dir string, owner *shmem.Box[point]) error{
		"close":  func(_ string, owner *shmem.Box[point]) error { return owner.Close() },
		"remove": func(dir string, _ *shmem.Box[point]) error { return shmem.Remove(dir, "p") },
		"rm":     func(dir string, _ *shmem.Box[point]) error { return os.Remove(filepath.Join(dir, "p")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := shmemtest.Dir(t)
			owner, b := open[point](t, dir, "p"), attach[point](t, dir, "p")
			if !b.Segment().Linked() {
				t.Error("not linked from the beginning")
			}
			check(t, unlink(dir, owner))
			if b.Segment().Linked() {
				t.Error("linked, though the name is gone")
			}
			fresh := open[point](t, dir, "p")
			if b.Segment().Linked() || !fresh.Segment().Linked() {
				t.Error("linked to a new segment of the same name")
			}
			check(t, errors.Join(b.Close(), owner.Close()))
			if !fresh.Segment().Linked() {
				t.Error("an old owner has unlinked a new segment")
			}
		})
	}
}

func TestReserveAndUndo(t *testing.T) {
	dir := shmemtest.Dir(t)
	size := func(o shmem.Options) int64 {
		o.Dir = dir
		b, err := shmem.Create[[8192]byte]("x", &o)
		opened(t, b, err)
		info, err := shmem.Stat(o.Dir, "x")
		check(t, errors.Join(err, b.Close()))
		return info.File
	}
	never := size(shmem.Options{Undo: shmem.UndoNever})
	if d := size(shmem.Options{}) - never; d != 8192 {
		t.Errorf("room to undo takes %d bytes", d)
	}
	if d := size(shmem.Options{Undo: shmem.UndoNever, Reserve: 4096}) - never; d != 4096 {
		t.Errorf("4096 bytes of spare room take %d", d)
	}
}

func TestOptions(t *testing.T) {
	dir := shmemtest.Dir(t)
	for _, o := range []shmem.Options{
		{Mode: fs.ModeSetuid | 0o600}, {Mode: 0o400}, {Slots: -1}, {Slots: 1025}, {Reserve: -1}, {Timeout: -1},
		{Offset: -1}, {Offset: 8}, {Undo: 7},
	} {
		o.Dir = dir
		if b, err := shmem.Open[point]("p", &o); err == nil || !strings.Contains(err.Error(), "Options.") {
			t.Errorf("%+v: %v, %v", o, b, err)
		}
	}
	b, err := shmem.Open[point]("p", &shmem.Options{Dir: dir, Mode: 0o666, Slots: 3})
	opened(t, b, err)
	info, err := shmem.Stat(dir, "p")
	if err != nil || info.Mode.Perm() != 0o666 || info.Slots != 3 {
		t.Errorf("mode %v (umask must not count), %d slots (%v)", info.Mode, info.Slots, err)
	}
}

func TestDefaultDir(t *testing.T) {
	name := "shmem-test-" + filepath.Base(shmemtest.Dir(t))
	b, err := shmem.Open[point](name, nil)
	opened(t, b, err)
	if !exists(sys.DefaultDir, name) {
		t.Error("it is not where shm_open looks")
	}
	check(t, b.Close())
	if exists(sys.DefaultDir, name) {
		t.Error("it is left")
	}
}

func TestLongSchema(t *testing.T) {
	dir := shmemtest.Dir(t)
	// The schema does not fit the header page.
	type s1 struct {
		Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, Bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb uint8
	}
	type s2 struct {
		A, B, C, D, E struct {
			S s1
			T struct{ S s1 }
		}
	}
	type s3 struct {
		A, B, C, D, E struct {
			S s2
			U int16
		}
	}
	b := open[s3](t, dir, "long")
	b.Value().E.S.E.T.S.Bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb = 4
	if attach[s3](t, dir, "long").Value().E.S.E.T.S.Bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb != 4 {
		t.Error("another value")
	}
	_, err := shmem.Attach[s2]("long", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrMismatch)
}

func TestListStates(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	live := open[point](t, dir, "live")
	attach[point](t, dir, "live")
	orphaned := open[point](t, dir, "orphaned")
	attach[point](t, dir, "orphaned")
	shmem.Abandon(orphaned.Segment())
	check(t, open[point](t, dir, "kept").Leak())
	shmem.Abandon(open[point](t, dir, "garbage").Segment())
	check(t, os.WriteFile(filepath.Join(dir, "foreign"), make([]byte, 100), 0o600))
	damaged := open[point](t, dir, "damaged")
	data, err := os.ReadFile(filepath.Join(dir, "damaged"))
	check(t, err)
	check(t, damaged.Close())
	data[len(data)-4096+20]++
	check(t, os.WriteFile(filepath.Join(dir, "damaged"), data, 0o600))
	check(t, os.Mkdir(filepath.Join(dir, "directory"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, ".shmem-0123456789abcdef0123456789abcdef"), nil, 0o600))

	var got []string
	for info, err := range shmem.List(o.Dir) {
		check(t, err)
		got = append(got, info.Name+" "+info.State.String())
		if one, err := shmem.Stat(o.Dir, info.Name); err != nil || one.State != info.State {
			t.Errorf("Stat %s: %v (%v)", info.Name, one.State, err)
		}
		if (info.Err != nil) != (info.State == shmem.Damaged) {
			t.Errorf("%s: Err %v", info.Name, info.Err)
		}
		if info.Path != filepath.Join(dir, info.Name) || info.UID != os.Getuid() || info.InUse == 0 || time.Since(info.Created) > time.Hour {
			t.Errorf("%+v", info)
		}
		if info.Name == "live" && (len(info.Peers) != 2 || info.Owner == nil || info.Owner.PID != os.Getpid() || info.Owner.Slot != 0 ||
			info.Owner.PIDNamespace == 0 || time.Since(info.Owner.Since) > time.Hour || info.Program != filepath.Base(os.Args[0])) {
			t.Errorf("live: %+v", info)
		}
		if info.Name == "orphaned" && (len(info.Peers) != 1 || info.Owner != nil) {
			t.Errorf("orphaned: %+v", info)
		}
	}
	if want := []string{"damaged damaged", "foreign foreign", "garbage garbage", "kept idle", "live live", "orphaned orphaned"}; !slices.Equal(got, want) {
		t.Errorf("states %q\nwant %q", got, want)
	}
	for range shmem.List(o.Dir) {
		break // the loop may end at any time
	}
	if taken := reclaim(t, dir); !slices.Equal(taken, []string{".shmem-0123456789abcdef0123456789abcdef", "garbage"}) {
		t.Errorf("reclaim has taken %q", taken)
	}
	if !live.Segment().Linked() {
		t.Error("reclaim has taken a live segment")
	}
	for _, name := range []string{"damaged", "foreign", "kept"} {
		check(t, shmem.Remove(o.Dir, name))
	}
	check(t, os.Remove(filepath.Join(dir, "directory")))
	wantErr(t, shmem.Remove(o.Dir, "kept"), fs.ErrNotExist, "remove kept", dir)
	_, err = shmem.Stat(o.Dir, "kept")
	wantErr(t, err, fs.ErrNotExist, "stat kept")
}

func TestRemoveLive(t *testing.T) {
	dir, n := shmemtest.Dir(t), drops(t)
	b := open[guest](t, dir, "g")
	b.Value().N = 2
	check(t, shmem.Remove(dir, "g"))
	if wantNames(t, dir); b.Value().N != 2 || !b.Owned() {
		t.Error("Remove has disturbed the owner")
	}
	check(t, b.Close())
	if *n != 1 {
		t.Errorf("%d drops, want 1", *n)
	}
}

// A held gate makes calls wait, until Options.Timeout.
func TestBusy(t *testing.T) {
	dir := shmemtest.Dir(t)
	b := open[point](t, dir, "p")
	release := holdGate(t, filepath.Join(dir, "p"))
	o := &shmem.Options{Dir: dir, Timeout: 20 * time.Millisecond}
	_, err := shmem.Attach[point]("p", o)
	wantErr(t, err, shmem.ErrBusy, "stopped", "Options.Timeout")
	if info, err := shmem.Stat(o.Dir, "p"); err != nil || info.State != shmem.Live {
		t.Errorf("Stat takes no lock: %v (%v)", info.State, err)
	}
	if taken := reclaim(t, dir); len(taken) > 0 {
		t.Errorf("reclaimed %q", taken)
	}
	release()
	q, err := shmem.Attach[point]("p", o)
	q = opened(t, q, err)
	shmem.Abandon(b.Segment())
	release = holdGate(t, filepath.Join(dir, "p"))
	wantErr(t, q.Close(), shmem.ErrBusy) // leaves garbage, which the next Open removes
	release()
	wantMapped(t, dir, false)
	wantNames(t, dir, "p")
	reclaim(t, dir)
	wantNames(t, dir)
}

// holdGate holds the gate of a file until release, like a process that is attaching.
func holdGate(t testing.TB, path string) (release func()) {
	t.Helper()
	f, err := sys.Open(path, true)
	check(t, err)
	check(t, f.Lock(sys.GateByte, false))
	return func() { _ = f.Close() }
}

// TestScribbledLock is about a lock word that is free although its waiters bit is set.
func TestScribbledLock(t *testing.T) {
	dir := shmemtest.Dir(t)
	b := open[point](t, dir, "p")
	f, err := os.OpenFile(filepath.Join(dir, "p"), os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	st, err := f.Stat()
	check(t, err)
	none := func(*point) error { return nil }
	for _, access := range []func(context.Context, func(*point) error) error{b.View, b.Update} {
		_, err = f.WriteAt(binary.NativeEndian.AppendUint32(nil, 1<<31), st.Size()-format.HeaderSize+format.OffLock)
		check(t, err)
		within(t, func() { check(t, access(context.Background(), none)) })
	}
}

type (
	initsWithoutError struct{ A int }
	dropsWithError    struct{ A int }
	initsCopy         struct{ A int }
	initsWell         struct{ A int }
	initsToo          struct{ B int }
	ambiguous         struct {
		initsWell
		initsToo
	}
	embedsOne struct {
		initsWell
		C int
	}
	embedsBoth struct {
		initsWell
		initsToo
	}
)

func (*initsWithoutError) Init()    {}
func (*dropsWithError) Drop() error { return nil }
func (initsCopy) Init() error       { return nil }
func (v *initsWell) Init() error    { v.A = 7; return nil }
func (v *initsToo) Init() error     { v.B = 8; return nil }
func (v *embedsBoth) Init() error {
	return errors.Join(v.initsWell.Init(), v.initsToo.Init())
}

// TestBadMethods opens types whose Init or Drop would never be called.
func TestBadMethods(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	_, err := shmem.Open[initsWithoutError]("b", o)
	wantErr(t, err, shmem.ErrBadType, "initsWithoutError", "method Init", "signature", "declare Init() error")
	_, err = shmem.Open[dropsWithError]("b", o)
	wantErr(t, err, shmem.ErrBadType, "method Drop", "signature", "declare Drop() ")
	_, err = shmem.Open[initsCopy]("b", o)
	wantErr(t, err, shmem.ErrBadType, "method Init", "value receiver")
	_, err = shmem.Open[ambiguous]("b", o)
	wantErr(t, err, shmem.ErrBadType, "method Init", "ambiguous")
	s, err := shmem.CreateSegment("s", 64, o)
	_, err = shmem.BoxOf[initsCopy](segment(t, s, err))
	wantErr(t, err, shmem.ErrBadType, "value receiver")

	if v := open[embedsOne](t, dir, "one").Value(); v.A != 7 {
		t.Errorf("%+v", *v)
	}
	if v := open[embedsBoth](t, dir, "both").Value(); v.A != 7 || v.B != 8 {
		t.Errorf("%+v", *v)
	}
}
