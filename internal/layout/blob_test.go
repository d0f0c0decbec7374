package layout_test

import (
	"reflect"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/pool"
)

// A pool as a Go struct: 3 buffers of 64 bytes and 2 of 4096, with 5 shares each.
type poolPayload struct {
	Pool     pool.Header
	States   [5]atomic.Uint64
	_        [88]byte
	Lengths  [5]atomic.Uint64
	_        [88]byte
	Shares   [25]atomic.Uint64
	_        [56]byte
	Buffers0 [3][64]byte
	_        [64]byte
	Buffers1 [2][4096]byte
}

// TestPool compares the payload of a pool with a Go struct that is written out, and finds it again
// in what is stored.
func TestPool(t *testing.T) {
	classes := []layout.Class{{Size: 64, Count: 3}, {Size: 4096, Count: 2}}
	p, err := layout.NewPool(classes, 5)
	if err != nil {
		t.Fatal(err)
	}
	goType := reflect.TypeFor[poolPayload]()
	if int(goType.Size()) != p.Type.Size {
		t.Errorf("%d bytes, want %d", p.Type.Size, goType.Size())
	}
	for name, off := range map[string]int{
		"States": p.StatesAt, "Lengths": p.LengthsAt, "Shares": p.SharesAt,
		"Buffers0": p.Classes[0].At, "Buffers1": p.Classes[1].At,
	} {
		if f, ok := goType.FieldByName(name); !ok || int(f.Offset) != off {
			t.Errorf("%s at %d, want %d", name, off, f.Offset)
		}
	}
	for buffer, size := range []int{64, 64, 64, 4096, 4096} {
		if c := p.ClassOf(buffer); c.Size != size {
			t.Errorf("buffer %d has %d bytes", buffer, c.Size)
		}
	}
	stored, err := format.Decode(p.Type.AppendBinary(nil))
	if err != nil {
		t.Fatal(err)
	}
	got, err := layout.PoolOf(stored)
	if err != nil || got.Shares != 5 || !reflect.DeepEqual(got.Classes, p.Classes) {
		t.Errorf("%+v, %v", got, err)
	}
	if want := "a blob.Pool (see blob.Open)"; layout.Described(stored) != want {
		t.Errorf("%s, want %s", layout.Described(stored), want)
	}
	for _, none := range []*format.Type{nil, of(t, goType), p.Type.Fields[1].Type} {
		if p, err := layout.PoolOf(none); err != layout.ErrNoPool {
			t.Errorf("%v is a pool: %v", none, p)
		}
	}
	for _, bad := range [][]layout.Class{
		nil, {{Size: 63, Count: 1}}, {{Size: 64}}, {{Size: 64, Count: 1}, {Size: 64, Count: 1}},
		{{Size: 64, Count: 1 << 16}, {Size: 128, Count: 1}},
	} {
		if _, err := layout.NewPool(bad, 5); err != layout.ErrSize {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
