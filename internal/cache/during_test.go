package cache

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/robust"
)

// TestScribbledDuring makes calls at a cache whose words another process overwrites meanwhile. Nothing may
// panic, and every call ends: it makes no more accesses than a few for each word.
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
	s := Shape{Shards: 1 << (seed % 2), Buckets: 3, Words: 100 + int(seed%40)}
	w := newWorld(t, s, seed)
	rnd := w.rnd
	words := w.scribbled()
	accesses, most := 0, 300*len(words)
	access.Hook = func(_ string, word *atomic.Uint64) {
		if accesses++; accesses > most {
			t.Fatalf("seed %d: a call does not end", seed)
		}
		if rnd.IntN(30) > 0 {
			return
		}
		if rnd.IntN(2) == 0 {
			word = words[rnd.IntN(len(words))]
		}
		word.Store(odd(rnd, words))
	}
	defer func() { access.Hook = nil }()
	for range 200 {
		accesses = 0
		key := []byte("some key of any length, which is long")[:rnd.IntN(30)]
		hash := Hash(1, key)
		switch rnd.IntN(6) {
		case 0, 1:
			ch, err := w.c.Begin(hash, key, rnd.IntN(w.c.Max()+9), int64(rnd.IntN(3)*90))
			if err != nil {
				continue
			}
			at := w.parts.Log[ch.Value/wordSize:][:ch.Room/wordSize]
			for i := range at {
				at[i].Store(rnd.Uint64())
			}
			w.c.Commit(&ch)
		case 2:
			w.c.Remove(hash, key)
		case 3:
			shard := w.c.ShardOf(hash)
			if rnd.IntN(4) == 0 {
				w.c.Clear(shard)
			} else {
				w.c.Repair(shard)
			}
		case 4:
			if e, ok := w.c.At(rnd.IntN(w.c.Links())); ok {
				w.within(&e)
			}
		default:
			var e Entry
			if found, err := w.c.Find(hash, key, &e); found && err == nil {
				w.within(&e)
				w.c.MarkUsed(&e)
			}
		}
	}
}

// within loads all that an entry says that there is.
func (w *world) within(e *Entry) {
	for _, part := range [][2]int{{e.Key, e.KeyLen}, {e.Value, e.ValueLen}} {
		words := w.parts.Log[part[0]/wordSize:][:(part[1]+wordSize-1)/wordSize]
		for i := range words {
			words[i].Load()
		}
	}
	w.c.Valid(e)
}

// scribbled returns all words of a cache.
func (w *world) scribbled() (all []*atomic.Uint64) {
	for i := range w.parts.Shards {
		s := &w.parts.Shards[i]
		all = append(all,
			&s.Tail, &s.Low, &s.Tail, &s.Low, &s.Tail, &s.Low, &s.Count, &s.Bytes, &s.Changes)
	}
	for _, list := range [][]atomic.Uint64{w.parts.Index, w.parts.Log} {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	return all
}

// odd returns a word that is likely to be believed.
func odd(rnd *rand.Rand, words []*atomic.Uint64) uint64 {
	switch w := words[rnd.IntN(len(words))].Load(); rnd.IntN(6) {
	case 0:
		return rnd.Uint64()
	case 1:
		return ^uint64(0) >> rnd.IntN(64)
	case 2:
		return uint64(rnd.IntN(300))
	case 3:
		return w + uint64(rnd.IntN(9)) - 4
	case 4:
		return w ^ 1<<rnd.IntN(64)
	default:
		return w
	}
}
