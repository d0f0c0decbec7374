//go:build linux && (amd64 || arm64)

// Package large_test shows that programs with values that do not fit the stack compile, and that
// such values work.
package large_test

import (
	"context"
	"errors"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
)

func TestMain(m *testing.M) { shmemtest.Main(m) }

type head struct {
	Mutex psync.Mutex
	N     uint64
}

// A big can be passed by value, but not by a function that has a copy.
type big struct {
	head
	B [600 << 20]byte
}

// A giant cannot be passed by value at all.
type giant struct {
	head
	B    [5 << 30]byte
	Last uint64
}

// Init makes giant an Initializer, and Drop a Dropper.
func (g *giant) Init() error { g.N = 7; return nil }
func (g *giant) Drop()       { dropped = g.Last }

var dropped uint64

func (b *big) Init() error { b.N = 7; return nil }

// everything is what a program may do with a value, compiled for T. It is not run.
func everything[T any](ctx context.Context, name string, v *T) error {
	l, err := shmem.OpenLarge[T](name, nil)
	if err != nil {
		return err
	}
	f := func(*T) error { return nil }
	err = errors.Join(l.Do(f), l.View(ctx, f), l.Update(ctx, f), l.Recover(ctx, f), l.LoadTo(ctx, v),
		l.StoreFrom(ctx, v), l.Wait(ctx, l.Version()), l.Own(), l.Leak())
	_, _, _ = l.Value(), l.Segment(), l.Unlinked()
	_, err1 := shmem.CreateLarge[T](name, nil)
	_, err2 := shmem.AttachLarge[T](name, nil)
	_, err3 := shmem.ValueAt[T](l.Segment(), 0)
	_, err4 := shmem.SliceAt[T](l.Segment(), 0, 1)
	return errors.Join(err, err1, err2, err3, err4)
}

var (
	_ = everything[big]
	_ = everything[giant]
)

// what follows is done with small values of the same kind: the memory is reserved.
type small struct {
	head
	B [1 << 20]byte
}

func (s *small) Init() error { s.N = 7; return nil }
func (s *small) Drop()       { dropped = s.N }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestLarge(t *testing.T) {
	ctx := context.Background()
	o := &shmem.Options{Dir: shmemtest.Dir(t), Undo: shmem.UndoAlways}
	l, err := shmem.CreateLarge[small]("s", o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shmem.CreateLarge[small]("s", o); err == nil {
		t.Error("created twice")
	}
	if l.Value().N != 7 || !l.Owned() || !l.Linked() || l.Name() != "s" {
		t.Errorf("N is %d", l.Value().N)
	}
	b, err := shmem.Attach[small]("s", o) // a Box of the same segment
	if err != nil {
		t.Fatal(err)
	}
	check(t, l.Update(ctx, func(s *small) error { s.N, s.B[1<<20-1] = 8, 9; return nil }))
	failed := errors.New("failed")
	if err := l.Update(ctx, func(s *small) error { s.N = 100; return failed }); err != failed {
		t.Error(err)
	}
	check(t, b.View(ctx, func(s *small) error {
		if s.N != 8 || s.B[1<<20-1] != 9 {
			t.Errorf("N is %d, the last byte %d", s.N, s.B[1<<20-1])
		}
		return nil
	}))
	v := new(small)
	check(t, l.LoadTo(ctx, v))
	if v.N != 8 || v.B[1<<20-1] != 9 {
		t.Errorf("loaded %d, %d", v.N, v.B[1<<20-1])
	}
	v.N = 10
	seen := l.Version()
	check(t, l.StoreFrom(ctx, v))
	check(t, l.Wait(ctx, seen))
	check(t, l.Do(func(s *small) error {
		if s.N != 10 || s != l.Value() {
			t.Errorf("N is %d", s.N)
		}
		return nil
	}))
	check(t, l.View(ctx, func(s *small) error { return s.Mutex.Lock(ctx) }))
	check(t, l.Value().Mutex.Unlock())
	check(t, b.Close())
	check(t, l.Close())
	if dropped != 10 || l.Value() != nil {
		t.Errorf("dropped %d", dropped)
	}
	for what, err := range map[string]error{
		"load": l.LoadTo(ctx, v), "store": l.StoreFrom(ctx, v), "view": l.View(ctx, nil), "do": l.Do(nil),
	} {
		if !errors.Is(err, shmem.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}
