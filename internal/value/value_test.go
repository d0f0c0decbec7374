package value

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/sys"
)

var ctx = context.Background()

type account struct {
	A    uint64
	Hits atomic.Uint64
	B    uint64
}

func typeOf[T any](t testing.TB) *format.Type {
	t.Helper()
	typ, err := format.Of(reflect.TypeFor[T]())
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

// dir returns an empty directory in shared memory.
func dir(t testing.TB) string {
	t.Helper()
	d, err := os.MkdirTemp(sys.DefaultDir, "shmem-value-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(d) })
	return d
}

// open opens the value "v" of type T, and returns it and the memory it is in.
func open[T any](t testing.TB, c segment.Config) (*Value, *T) {
	t.Helper()
	typ := typeOf[T](t)
	a, err := segment.Open(segment.Request{Name: "v", Config: c, Create: true, Attach: true, Size: typ.Size, Schema: typ})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Detach(false) })
	v := Of(a, typ)
	p, err := mem.At[T](a.Mapping(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return &v, p
}

func load[T any](t testing.TB, v *Value) (got *T) {
	t.Helper()
	got = new(T)
	if err := v.Load(ctx, mem.Bytes(got)); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPlan(t *testing.T) {
	type span = format.Span
	type word struct {
		Low  uint32
		High atomic.Uint32
	}
	type tail struct {
		A atomic.Uint64
		B [3]byte
	}
	for _, c := range []struct {
		t             *format.Type
		parts, shared []span
	}{
		{typeOf[uint64](t), nil, nil},
		{typeOf[account](t), []span{{Off: 0, Len: 8}, {Off: 16, Len: 8}}, []span{{Off: 8, Len: 8}}},
		{typeOf[word](t), []span{{Off: 0, Len: 4}}, []span{{Off: 4, Len: 4}}},
		{typeOf[tail](t), []span{{Off: 8, Len: 8}}, []span{{Off: 0, Len: 8}}},
		{typeOf[atomic.Uint64](t), nil, []span{{Off: 0, Len: 8}}},
	} {
		p := newPlan(c.t)
		if p.size != c.t.Size || !slices.Equal(p.parts, c.parts) || !slices.Equal(p.shared, c.shared) || p.private != nil {
			t.Errorf("%s: parts %v, shared %v, private %v; want %v, %v", c.t, p.parts, p.shared, p.private, c.parts, c.shared)
		}
	}
	typ := typeOf[account](t)
	if first, second := planOf(typ), planOf(typ); first != second {
		t.Error("the plan of a type is computed twice")
	}
}

// How an Update ends, with and without an undo image.
func TestUpdate(t *testing.T) {
	no := errors.New("no")
	for _, c := range []struct {
		name   string
		limit  int
		end    func() error
		want   uint64 // of A and B
		broken bool
	}{
		{name: "returns", end: func() error { return nil }, want: 2},
		{name: "fails", end: func() error { return no }, want: 1},
		{name: "panics", end: func() error { panic(no) }, want: 1},
		{name: "returns, no image", limit: -1, end: func() error { return nil }, want: 2},
		{name: "fails, no image", limit: -1, end: func() error { return no }, want: 2},
		{name: "panics, no image", limit: -1, end: func() error { panic(no) }, broken: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, p := open[account](t, segment.Config{Dir: dir(t), UndoLimit: c.limit})
			p.A, p.B = 1, 1
			p.Hits.Store(1)
			func() {
				defer func() { _ = recover() }()
				err := v.Update(ctx, func() error {
					p.A, p.B = 2, 2
					p.Hits.Add(1)
					return c.end()
				})
				if err != nil && err != no {
					t.Errorf("Update: %v, want the error as it is", err)
				}
			}()
			if c.broken {
				if err := v.Lock(ctx); !errors.Is(err, errs.OwnerDied) {
					t.Errorf("Lock: %v, want errs.OwnerDied", err)
				}
				return
			}
			if p.A != c.want || p.B != c.want || p.Hits.Load() != 2 {
				t.Errorf("the value is %d %d, %d hits; want %d, and atomics are not undone", p.A, p.B, p.Hits.Load(), c.want)
			}
			if !v.consistent() {
				t.Error("the sequence counter is odd")
			}
			if err := v.Lock(ctx); err != nil {
				t.Errorf("the lock is not free: %v", err)
			}
			v.Unlock()
		})
	}
}

// broken makes the value one that a process has died over: the counter odd, the payload half
// changed.
func broken(t *testing.T, v *Value, p *account) {
	t.Helper()
	if err := v.Lock(ctx); err != nil {
		t.Fatal(err)
	}
	var phase Phase
	v.Begin(&phase)
	p.A = 2
	if err := v.lock.Abandon(); err != nil {
		t.Fatal(err)
	}
}

// After a death in the middle of a change Load sees the image, and the next lock restores it.
func TestRestore(t *testing.T) {
	for _, lock := range []struct {
		name string
		do   func(*Value) error
	}{
		{"Lock", func(v *Value) error { defer v.Unlock(); return v.Lock(ctx) }},
		{"RLock", func(v *Value) error { defer v.RUnlock(); return v.RLock(ctx) }},
		{"Repair", func(v *Value) error {
			defer v.Unlock()
			broken, err := v.Repair(ctx)
			if broken {
				err = errors.New("Repair asks for a repair although there is an image")
			}
			return err
		}},
	} {
		t.Run(lock.name, func(t *testing.T) {
			v, p := open[account](t, segment.Config{Dir: dir(t)})
			p.A, p.B = 1, 1
			broken(t, v, p)
			if got := load[account](t, v); got.A != 1 || got.B != 1 {
				t.Errorf("Load gives %d %d, want 1 1 from the image", got.A, got.B)
			}
			if err := lock.do(v); err != nil || p.A != 1 || !v.consistent() {
				t.Errorf("%v; the payload is %d, want 1; consistent: %v", err, p.A, v.consistent())
			}
		})
	}
}

func TestRepair(t *testing.T) {
	v, p := open[account](t, segment.Config{Dir: dir(t), UndoLimit: -1})
	broken(t, v, p)
	if err := v.Load(ctx, mem.Bytes(new(account))); !errors.Is(err, errs.OwnerDied) {
		t.Errorf("Load: %v, want errs.OwnerDied", err)
	}
	for _, repaired := range []bool{false, true} { // a failed repair changes nothing
		asked, err := v.Repair(ctx)
		if err != nil || !asked {
			t.Fatalf("Repair: %v, %v", asked, err)
		}
		if repaired {
			p.A = 3
			v.Repaired()
		}
		v.Unlock()
	}
	if asked, err := v.Repair(ctx); asked || err != nil {
		t.Errorf("Repair of a repaired value: %v, %v", asked, err)
	}
	v.Unlock()
	if got := load[account](t, v); got.A != 3 {
		t.Errorf("the value is %d, want 3", got.A)
	}
}

// A change by a process whose type is shorter keeps the appended fields, in the image too.
func TestAppended(t *testing.T) {
	type short struct{ A, B uint64 }
	type long struct{ A, B, C uint64 }
	c := segment.Config{Dir: dir(t), Reserve: 64, Append: true}
	v, _ := open[short](t, c)
	w, p := open[long](t, c)
	p.C = 7
	for name, change := range map[string]func() error{
		"Store":  func() error { return v.Store(ctx, mem.Bytes(&short{1, 2})) },
		"Update": func() error { return v.Update(ctx, func() error { return nil }) },
	} {
		if err := change(); err != nil || v.stored.size != 24 {
			t.Fatalf("%s: %v; the plan has %d bytes, want 24", name, err, v.stored.size)
		}
		if got := load[long](t, w); got.C != 7 {
			t.Errorf("after %s the appended field is %d, want 7", name, got.C)
		}
		image := make([]byte, 24)
		v.m.Load(image, v.image)
		if want := mem.Bytes(load[long](t, w)); !slices.Equal(image, want) {
			t.Errorf("after %s the image is %v, want %v", name, image, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	d := dir(t)
	v, _ := open[account](t, segment.Config{Dir: d})
	ro, _ := open[account](t, segment.Config{Dir: d, ReadOnly: true})
	if err := v.Lockable(); err != nil {
		t.Error(err)
	}
	if err := ro.Lockable(); !errors.Is(err, errs.ReadOnly) {
		t.Errorf("Lockable read-only: %v", err)
	}
	if err := errors.Join(ro.Snapshots(), ro.Waitable()); err != nil {
		t.Errorf("read-only: %v", err)
	}
	if err := os.WriteFile(d+"/raw", make([]byte, 24), 0o600); err != nil {
		t.Fatal(err)
	}
	typ := typeOf[account](t)
	a, err := segment.Open(segment.Request{Name: d + "/raw", Config: segment.Config{Foreign: true}, Attach: true, Size: 24, Schema: typ})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Detach(false) })
	f := Of(a, typ)
	for i, err := range []error{f.Lockable(), f.Snapshots(), f.Waitable()} {
		if !errors.Is(err, errs.Foreign) {
			t.Errorf("foreign, %d: %v", i, err)
		}
	}
	if n := f.Version(); n != 0 {
		t.Errorf("foreign: version %d", n)
	}
}

func TestVersion(t *testing.T) {
	v, _ := open[account](t, segment.Config{Dir: dir(t)})
	for i := range uint64(3) {
		if n := v.Version(); n != i {
			t.Errorf("version %d, want %d", n, i)
		}
		if err := v.Store(ctx, mem.Bytes(&account{A: i})); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Wait(ctx, 2); err != nil {
		t.Errorf("Wait for a change that has happened: %v", err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := v.Wait(done, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}
}

// A fault of the caller's function, in the segment's memory, is an error and undone.
func TestFault(t *testing.T) {
	v, p := open[account](t, segment.Config{Dir: dir(t)})
	p.A = 1
	err := v.Update(ctx, func() error {
		p.A = 2
		panic(fault{error: errors.New("bus error"), addr: mem.Address(p)})
	})
	e, ok := errors.AsType[*segment.FaultError](err)
	if !ok || e.Addr != mem.Address(p) || p.A != 1 {
		t.Errorf("%v (%T); the value is %d, want 1", err, err, p.A)
	}
	func() {
		defer func() {
			if r := recover(); fmt.Sprint(r) != "elsewhere" {
				t.Errorf("recovered %v, want the panic of the function", r)
			}
		}()
		_ = v.Update(ctx, func() error { panic(fault{error: errors.New("elsewhere"), addr: 1}) })
	}()
}

// fault is what the runtime panics with where memory cannot be accessed.
type fault struct {
	error
	addr uintptr
}

func (f fault) Addr() uintptr { return f.addr }
