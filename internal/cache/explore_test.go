package cache

import (
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
)

// Actors make calls at one cache. They take turns, one access to a shared word at a time, in an
// order that a seed chooses, and are killed at any access.

type killed struct{}

// A value has three words, so that a mixture is seen.
const valueBytes = 24

type actor struct {
	id   uint64
	next func() (struct{}, bool)
	stop func()
	dead bool
}

// A version is one Set or Delete of a key, in the order in which the lock was had.
type version struct {
	value uint64 // 0: deleted
	ended bool   // it has returned
}

type world struct {
	t      *testing.T
	c      *Cache
	parts  Parts
	lock   []atomic.Uint64
	actors []*actor
	// versions of each key; from the newest that has ended on, each may be what a reader gets
	versions map[uint64][]version
	keys     uint64 // the keys are less
	rnd      *rand.Rand
	broken   string // a step that is left out: see TestBroken
	failure  string
}

func newWorld(t *testing.T, s Shape, seed uint64) *world {
	w := &world{t: t, versions: map[uint64][]version{}, rnd: rand.New(rand.NewPCG(seed, 7))}
	w.lock = make([]atomic.Uint64, s.Shards)
	w.parts = Parts{
		Header: new(Header), Shards: make([]Shard, s.Shards),
		Index: make([]atomic.Uint64, s.Shards*s.Buckets*Ways),
		Log:   make([]atomic.Uint64, s.Shards*s.Words),
	}
	var err error
	if w.c, err = New(s, w.parts, func() int64 { return 100 }); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
	}
}

// spawn begins an actor, which stops before its first access.
func (w *world) spawn(id uint64, body func(a *actor)) {
	a := &actor{id: id}
	var yield func(struct{}) bool
	next, stop := iter.Pull(func(y func(struct{}) bool) {
		yield = y
		defer func() {
			if e := recover(); e != nil && e != (killed{}) {
				panic(e)
			}
		}()
		body(a)
	})
	a.next = func() (struct{}, bool) {
		access.Hook = func(string, *atomic.Uint64) {
			if !yield(struct{}{}) {
				panic(killed{})
			}
		}
		defer func() { access.Hook = nil }()
		return next()
	}
	a.stop = func() { access.Hook = nil; stop() }
	w.actors = append(w.actors, a)
}

// run lets the actors take turns until all have ended, and kills up to kills of them.
func (w *world) run(kills int) {
	live := append([]*actor(nil), w.actors...)
	for len(live) > 0 && w.failure == "" {
		i := w.rnd.IntN(len(live))
		a := live[i]
		for range 1 + w.rnd.IntN(1<<w.rnd.IntN(11)) {
			_, ok := a.next()
			if ok && kills > 0 && w.rnd.IntN(1000) == 0 {
				kills--
				a.dead = true
				a.stop()
				ok = false
			}
			if !ok {
				live = append(live[:i], live[i+1:]...)
				break
			}
		}
	}
	for _, a := range w.actors {
		a.dead = true
		a.stop()
	}
}

// take takes the lock of a shard, and repairs the shard of a dead holder.
func (w *world) take(a *actor, shard int) {
	l := &w.lock[shard]
	for {
		was := access.Load("lock", l)
		if was != 0 && !w.actors[was-1].dead {
			continue
		}
		if !access.CAS("lock", l, was, a.id) {
			continue
		}
		if was != 0 {
			w.c.Repair(shard)
		}
		return
	}
}

func keyOf(k uint64) []byte { return fmt.Appendf(nil, "key %d%.*s", k, int(k%5), "......") }

func (w *world) set(a *actor, k, v uint64, expires int64) {
	hash := Hash(1, keyOf(k))
	shard := w.c.ShardOf(hash)
	w.take(a, shard)
	w.versions[k] = append(w.versions[k], version{value: v})
	n := len(w.versions[k]) - 1
	ch, err := w.c.Begin(hash, keyOf(k), valueBytes+8*int(v%3), expires)
	if err != nil {
		w.fail("%v", err)
		return
	}
	for i := range ch.Room / 8 {
		access.Release("copy in", &w.parts.Log[ch.Value/8+i], v)
	}
	w.c.Commit(&ch)
	w.versions[k][n].ended = true
	access.Release("unlock", &w.lock[shard], 0)
}

func (w *world) remove(a *actor, k uint64) {
	hash := Hash(1, keyOf(k))
	shard := w.c.ShardOf(hash)
	w.take(a, shard)
	w.versions[k] = append(w.versions[k], version{})
	n := len(w.versions[k]) - 1
	w.c.Remove(hash, keyOf(k))
	w.versions[k][n].ended = true
	access.Release("unlock", &w.lock[shard], 0)
}

// clear removes all keys of a shard.
func (w *world) clear(a *actor, shard int) {
	w.take(a, shard)
	removed := map[uint64]int{}
	for k := range w.keys {
		if w.c.ShardOf(Hash(1, keyOf(k))) == shard {
			w.versions[k] = append(w.versions[k], version{})
			removed[k] = len(w.versions[k]) - 1
		}
	}
	w.c.Clear(shard)
	for k, n := range removed {
		w.versions[k][n].ended = true
	}
	access.Release("unlock", &w.lock[shard], 0)
}

// newest returns the newest version of a key that has ended.
func (w *world) newest(k uint64) int {
	for n := len(w.versions[k]) - 1; n >= 0; n-- {
		if w.versions[k][n].ended {
			return n
		}
	}
	return 0
}

// get reads a key, and checks that the value was there during the call.
func (w *world) get(k uint64) {
	from := w.newest(k)
	hash := Hash(1, keyOf(k))
	for {
		var e Entry
		found, err := w.c.Find(hash, keyOf(k), &e)
		if err != nil {
			w.fail("key %d: %v", k, err)
			return
		}
		if !found {
			return // a cache may forget
		}
		got := make([]uint64, e.ValueLen/8)
		for i := range got {
			got[i] = access.Load("copy out", &w.parts.Log[e.Value/8+i])
		}
		if !w.c.Valid(&e) && w.broken != "valid" {
			continue
		}
		w.c.MarkUsed(&e)
		for _, v := range got {
			if v != got[0] || len(got) != (valueBytes+8*int(v%3))/8 {
				w.fail("key %d has a mixture: %v", k, got)
				return
			}
		}
		for _, v := range w.versions[k][min(from, len(w.versions[k])):] {
			if v.value == got[0] {
				return
			}
		}
		w.fail("key %d has %d, which is not one of %v", k, got[0], w.versions[k][from:])
		return
	}
}

// counted compares the counters with the entries.
func (w *world) counted() {
	for i := range w.c.Shards {
		if l := w.lock[i].Load(); l != 0 {
			w.c.Repair(i)
		}
	}
	entries, bytes := uint64(0), uint64(0)
	for i := range w.c.Links() {
		if e, ok := w.c.At(i); ok {
			entries++
			bytes += uint64(e.KeyLen + e.ValueLen)
		} else if w.parts.Index[i].Load() != 0 {
			w.fail("a link leads to no entry")
		}
	}
	if st := w.c.Stats(); st.Entries != entries || st.Bytes != bytes {
		w.fail("%d entries with %d bytes, counted are %d with %d", entries, bytes, st.Entries, st.Bytes)
	}
}

var shapes = []Shape{
	{Shards: 1, Buckets: 1, Words: 64},
	{Shards: 1, Buckets: 2, Words: 47},
	{Shards: 2, Buckets: 1, Words: 150},
	{Shards: 1, Buckets: 1, Words: 400}, // more entries than links
}

// runOnce runs three actors and returns what is wrong.
func runOnce(t *testing.T, seed uint64, broken string) string {
	w := newWorld(t, shapes[seed%uint64(len(shapes))], seed)
	w.broken = broken
	keys, value := 3+seed%20, uint64(0)
	w.keys = keys
	for id := range uint64(4) {
		w.spawn(id+1, func(a *actor) {
			for range 25 {
				k := w.rnd.Uint64N(keys)
				switch n := w.rnd.IntN(8); {
				case n < 3 && id < 2 || n == 3:
					value++
					w.set(a, k, value, int64(w.rnd.IntN(2)*50))
				case n == 4 && id < 2 && k == 0:
					w.clear(a, w.rnd.IntN(w.c.Shards))
				case n == 4 && id < 2:
					w.remove(a, k)
				default:
					w.get(k)
				}
			}
		})
	}
	w.run(3)
	w.counted()
	return w.failure
}

// runs is how many random orders TestOrders goes through.
var runs = flag.Uint64("runs", 400, "how many random orders TestOrders goes through")

// TestOrders runs actors in random orders with deaths.
func TestOrders(t *testing.T) {
	for seed := range *runs {
		if failure := runOnce(t, seed, ""); failure != "" {
			t.Fatalf("seed %d: %s", seed, failure)
		}
	}
}

// TestBroken: a reader that does not look again is found out.
func TestBroken(t *testing.T) {
	for seed := range *runs {
		if runOnce(t, seed, "valid") != "" {
			return
		}
	}
	t.Error("nothing was found")
}
