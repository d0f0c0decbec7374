package layout_test

import (
	"reflect"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/table"
)

// A map as a Go struct, for 5 entries of 12 bytes with keys of 3.
type mapPayload struct {
	Map     table.Header
	Stripes [2]table.Stripe
	Buckets [16]atomic.Uint64
	Marks   [1]atomic.Uint64
	_       [120]byte
	Cells   [7]struct {
		Words [table.CellWords]uint64
		Key   [3]byte
		_     [5]byte
		Value item
		_     [4]byte
	}
}

// TestMap compares the payload of a map with a Go struct that is written out, and finds it again in
// what is stored.
func TestMap(t *testing.T) {
	key, value := of(t, reflect.TypeFor[[3]byte]()), of(t, reflect.TypeFor[item]())
	s, err := table.ShapeOf(5, 3, 12)
	if err != nil {
		t.Fatal(err)
	}
	n := layout.MapCounts{Stripes: s.Stripes, Buckets: s.Buckets, Marks: s.Marks(), Cells: s.Cells()}
	for _, evicting := range []bool{false, true} {
		m, err := layout.NewMap(key, value, evicting, n)
		if err != nil {
			t.Fatal(err)
		}
		goType := reflect.TypeFor[mapPayload]()
		if int(goType.Size()) != m.Type.Size {
			t.Errorf("%d bytes, want %d", m.Type.Size, goType.Size())
		}
		for name, off := range map[string]int{
			"Stripes": m.StripesAt, "Buckets": m.BucketsAt, "Marks": m.MarksAt, "Cells": m.CellsAt,
		} {
			if f, ok := goType.FieldByName(name); !ok || int(f.Offset) != off {
				t.Errorf("%s at %d, want %d", name, off, f.Offset)
			}
		}
		cell := m.Type.Fields[4].Type.Elem
		if cell.Size != 8*s.Stride() {
			t.Errorf("a cell has %d bytes, its words %d", cell.Size, 8*s.Stride())
		}
		stored, err := format.Decode(m.Type.AppendBinary(nil))
		if err != nil {
			t.Fatal(err)
		}
		got, err := layout.MapOf(stored)
		if err != nil || got.Evicting != evicting || got.Capacity() != 5 || got.MapCounts != n ||
			got.Key.Size != 3 || got.Value.Size != 12 {
			t.Errorf("%+v, %v", got, err)
		}
		if want := "a kv.Map of [3]uint8 and layout_test.item (see kv.Open)"; layout.Described(stored) != want {
			t.Errorf("%s, want %s", layout.Described(stored), want)
		}
	}
	q, err := layout.NewQueue(value, 5, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, none := range []*format.Type{nil, key, q.Type} {
		if m, err := layout.MapOf(none); err != layout.ErrNoMap {
			t.Errorf("%v is a map: %v", none, m)
		}
	}
	for _, n := range []layout.MapCounts{{}, {1, 1, 1, 1}, {0, 1, 1, 5}, {1, 0, 1, 5}, {1, 1, 0, 5}} {
		if _, err := layout.NewMap(key, value, false, n); err != layout.ErrSize {
			t.Errorf("%+v: %v", n, err)
		}
	}
}
