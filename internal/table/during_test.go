package table

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/robust"
)

// TestScribbledDuring makes calls at a table whose words another process overwrites meanwhile.
// Nothing may panic, nothing outside the table is accessed, and every call ends.
func TestScribbledDuring(t *testing.T) {
	worlds := 300
	if robust.RaceEnabled || testing.Short() {
		worlds = 30
	}
	for seed := range uint64(worlds) {
		scribbledDuring(t, seed)
		if t.Failed() {
			return
		}
	}
}

func scribbledDuring(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	shape, err := ShapeOf(1+rnd.IntN(20), 8, 16)
	if err != nil {
		t.Fatal(err)
	}
	m := newMemory(shape)
	c := m.caller(&world{}, 1, seed%2 == 0)
	words := m.words()
	inside := map[*atomic.Uint64]bool{}
	for _, w := range words {
		inside[w] = true
	}
	h := m.parts.Header
	for _, w := range []*atomic.Uint64{&h.Evicted, &h.Expired, &h.Repairs} {
		inside[w] = true
	}
	accesses := 0
	access.Hook = func(step string, w *atomic.Uint64) {
		// Without scribbling a call looks at every cell a few times. A reader begins anew where the
		// version has changed.
		if accesses++; accesses > 1_000_000 {
			t.Fatalf("seed %d: a call does not end", seed)
		}
		if !inside[w] {
			t.Fatalf("seed %d: %s is an access outside the table", seed, step)
		}
		if rnd.IntN(30) > 0 {
			return
		}
		if rnd.IntN(2) == 0 {
			w = words[rnd.IntN(len(words))]
		}
		w.Store(odd(rnd, words))
	}
	defer func() { access.Hook = nil }()
	for range 200 {
		accesses = 0
		for i := range m.locks {
			m.locks[i].Store(0)
		}
		key := []uint64{rnd.Uint64N(30)}
		hash := Hash(m.parts.Header.Seed.Load(), key)
		switch rnd.IntN(5) {
		case 0:
			var v [2]uint64
			c.t.Read(&key[0], (*byte)(unsafe.Pointer(&v)))
			if e, err := c.t.Find(hash, key); err == nil && e.Cell >= 0 {
				m.read(c.t, e.Cell)
				c.t.MarkUsed(e)
				c.t.Valid(e)
			}
		case 1:
			list, err := c.t.Bucket(rnd.IntN(shape.Buckets), nil)
			for _, e := range list {
				if err == nil {
					c.t.Key(e, key)
				}
			}
		case 2:
			_ = c.t.Repair(rnd.IntN(shape.Stripes))
		default:
			at, err := c.t.Lookup(hash, key)
			if err != nil {
				continue
			}
			if rnd.IntN(3) == 0 {
				c.t.Remove(at)
			} else if change, err := c.t.Begin(at, key, int64(rnd.IntN(3)*90)); err == nil {
				m.write(c.t, change.Cell, rnd.Uint64())
				c.t.Commit(&change)
			}
		}
	}
}

// odd returns a word that is likely to be believed.
func odd(rnd *rand.Rand, words []*atomic.Uint64) uint64 {
	switch w := words[rnd.IntN(len(words))].Load(); rnd.IntN(6) {
	case 0:
		return rnd.Uint64()
	case 1:
		return ^uint64(0) >> rnd.IntN(64)
	case 2:
		return uint64(rnd.IntN(40))
	case 3:
		return w + uint64(rnd.IntN(9)) - 4
	case 4:
		return w ^ 1<<rnd.IntN(64)
	default:
		return w
	}
}
