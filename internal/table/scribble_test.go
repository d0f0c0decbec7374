package table

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// scribbled makes calls at a table whose words are overwritten before. Nothing may panic, and every
// call returns.
func scribbled(t *testing.T, seed uint64, data []byte) {
	shape, err := ShapeOf(20, 8, 16)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{}
	m := newMemory(shape)
	c := m.caller(w, 1, seed%2 == 0)
	for k := range uint64(15) {
		c.put(k, byte(k), int64(k%3)*50)
	}
	words := m.words()
	rnd := rand.New(rand.NewPCG(seed, 1))
	for i, b := range data {
		p := words[rnd.IntN(len(words))]
		switch b % 4 {
		case 0:
			p.Store(uint64(b) / 4)
		case 1:
			p.Store(rnd.Uint64())
		case 2:
			p.Store(^uint64(0) >> (b / 4))
		default:
			p.Store(words[(i*7+int(b))%len(words)].Load())
		}
	}
	for i := range m.locks {
		m.locks[i].Store(0)
	}
	tb := c.t
	for k := range uint64(30) {
		key := []uint64{k}
		hash := Hash(1, key)
		var v [2]uint64
		tb.Read(&k, (*byte)(unsafe.Pointer(&v)))
		if e, err := tb.Find(hash, key); err == nil && e.Cell >= 0 {
			m.read(tb, e.Cell)
			tb.MarkUsed(e)
			tb.Valid(e)
		}
		at, err := tb.Lookup(hash, key)
		if err != nil {
			continue
		}
		if k%3 == 0 {
			tb.Remove(at)
		} else if change, err := tb.Begin(at, key, 0); err == nil {
			m.write(tb, change.Cell, k)
			tb.Commit(&change)
		}
	}
	for b := range shape.Buckets {
		list, err := tb.Bucket(b, nil)
		if err != nil {
			continue
		}
		for _, e := range list {
			tb.Key(e, make([]uint64, 1))
		}
	}
	for s := range shape.Stripes {
		_ = tb.Repair(s)
	}
	if n := tb.Len(); n < 0 || n > shape.Capacity {
		t.Errorf("%d entries", n)
	}
}

// TestCellOfIntent: an intent that another process has scribbled over names no cell outside the table,
// also where an int has 32 bits.
func TestCellOfIntent(t *testing.T) {
	m := newMemory(two)
	c := m.caller(&world{}, 1, false)
	for _, n := range []uint32{0, 3, 4, 1 << 31, 1<<32 - 1} {
		i := intent(removing<<32 | uint64(n))
		if cell, ok := c.t.cellOf(i); ok != (n < 4) || ok && uint32(cell) != n {
			t.Errorf("%x is cell %d, %v", uint64(i), cell, ok)
		}
		m.parts.Stripes[0].Intent.Store(uint64(i))
		if err := c.t.Repair(0); err != nil {
			t.Error(err)
		}
	}
}

// FuzzScribbled overwrites the words of a table.
func FuzzScribbled(f *testing.F) {
	for i := range uint64(200) {
		rnd := rand.New(rand.NewPCG(i, 2))
		data := make([]byte, 1+rnd.IntN(30))
		for j := range data {
			data[j] = byte(rnd.Uint32())
		}
		f.Add(i, data)
	}
	f.Fuzz(scribbled)
}
