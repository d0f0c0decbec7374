package cache

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func (w *world) put(t testing.TB, key string, size int, expires int64) {
	t.Helper()
	hash := Hash(1, []byte(key))
	ch, err := w.c.Begin(hash, []byte(key), size, expires)
	if err != nil {
		t.Fatal(err)
	}
	w.c.Commit(&ch)
}

func (w *world) has(key string) bool {
	var e Entry
	found, err := w.c.Find(Hash(1, []byte(key)), []byte(key), &e)
	if found {
		w.c.MarkUsed(&e)
	}
	return found && err == nil
}

// TestShapes: the parts fit into the size, and use most of it.
func TestShapes(t *testing.T) {
	for size := 64 << 10; size < 1<<29; size += size/3*2 + 8 {
		for _, mean := range []int{1, 16, 100, 5000} {
			s, err := ShapeOf(size, mean)
			if err != nil {
				t.Fatal(size, mean, err)
			}
			n := headerSize + s.Shards*(shardSize+s.Buckets*Ways*8+s.Words*8)
			if n > size-2*lineSize || n < size/100*95 || s.Words*8*maxShards < size/4 {
				t.Errorf("%d bytes for %d, mean %d: %+v", n, size, mean, s)
			}
		}
	}
	for _, bad := range [][2]int{{0, 1}, {1000, 0}, {100, 10}, {-1, 1}} {
		if s, err := ShapeOf(bad[0], bad[1]); err == nil {
			t.Errorf("%v: %+v", bad, s)
		}
	}
	if _, err := New(Shape{Shards: 1, Buckets: 1, Words: 64}, Parts{}, nil); err != ErrShape {
		t.Error(err)
	}
}

// TestFull: entries of the mean size fill the log, before the index is full.
func TestFull(t *testing.T) {
	s, err := ShapeOf(1<<20, 80)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, s, 1)
	fit := s.Shards * s.Words * 8 / (EntryWords*8 + 80)
	early := 0
	for i := range fit * 9 / 10 {
		w.put(t, fmt.Sprintf("%016d", i), 64, 0)
		early = int(w.c.Stats().Evicted)
	}
	if early > fit/200 {
		t.Errorf("%d of %d were evicted at 90 %%", early, fit)
	}
	for i := range 3 * fit {
		w.put(t, fmt.Sprintf("more %011d", i), 64, 0)
	}
	st := w.c.Stats()
	if int(st.Entries) < fit*9/10 || int(st.Entries) > fit || st.Bytes != 80*st.Entries {
		t.Errorf("%+v, want %d entries", st, fit)
	}
}

// TestReadStay: entries that are read again and again stay, and others go, the oldest first.
func TestReadStay(t *testing.T) {
	w := newWorld(t, Shape{Shards: 1, Buckets: 64, Words: 2000}, 1)
	for i := range 5 {
		w.put(t, fmt.Sprint("kept ", i), 40, 0)
	}
	for i := range 2000 {
		w.put(t, fmt.Sprint("once ", i), 40, 0)
		for j := range 5 {
			if !w.has(fmt.Sprint("kept ", j)) {
				t.Fatalf("entry %d is gone after %d others", j, i)
			}
		}
	}
	n := 0
	for ; w.has(fmt.Sprint("once ", 1999-n)); n++ {
	}
	if entries := int(w.c.Stats().Entries); entries != n+5 || n < 150 {
		t.Errorf("of %d entries %d are the newest", entries, n)
	}
}

// TestExpired: entries that have expired are not moved, and counted as such.
func TestExpired(t *testing.T) {
	w := newWorld(t, Shape{Shards: 1, Buckets: 64, Words: 1000}, 1)
	for i := range 10 {
		w.put(t, fmt.Sprint("short ", i), 40, 50)
		w.has(fmt.Sprint("short ", i))
	}
	for i := range 150 {
		w.put(t, fmt.Sprint("next ", i), 40, 0)
	}
	if st := w.c.Stats(); st.Expired != 10 {
		t.Errorf("%+v", st)
	}
}

// TestSizes stores entries of all sizes, up to the largest.
func TestSizes(t *testing.T) {
	w := newWorld(t, Shape{Shards: 1, Buckets: 8, Words: 300}, 1)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 3000 {
		key := fmt.Sprint(i)
		w.put(t, key, rnd.IntN(1+w.c.Max()-len(key)), 0)
		if !w.has(key) {
			t.Fatal(key, "is not there")
		}
	}
	for _, n := range []int{w.c.Max() - 1, w.c.Max(), 1 << 30} {
		key := []byte("xy")
		if _, err := w.c.Begin(Hash(1, key), key, n, 0); err != ErrTooBig {
			t.Errorf("%d: %v", n, err)
		}
	}
	w.counted()
	if w.failure != "" {
		t.Error(w.failure)
	}
}

// TestUsedUp: at the last position a shard begins anew, and an old entry is not found.
func TestUsedUp(t *testing.T) {
	w := newWorld(t, Shape{Shards: 1, Buckets: 8, Words: 300}, 1)
	w.parts.Shards[0].Low.Store(lastPos &^ (w.c.lap - 1))
	w.parts.Shards[0].Tail.Store(lastPos &^ (w.c.lap - 1))
	for i := range 50 {
		w.put(t, fmt.Sprint(i), 40, 0)
		if !w.has(fmt.Sprint(i)) {
			t.Fatal(i)
		}
	}
	if tail := w.parts.Shards[0].Tail.Load(); tail > 100*w.c.lap || w.c.Stats().Repairs != 1 {
		t.Errorf("tail %d, %+v", tail, w.c.Stats())
	}
	w.counted()
	if w.failure != "" {
		t.Error(w.failure)
	}
}

// scribbled makes calls at a cache whose words are overwritten. Nothing may panic, and every call
// returns.
func scribbled(t *testing.T, seed uint64, data []byte) {
	w := newWorld(t, shapes[seed%uint64(len(shapes))], seed)
	for i := range 30 {
		w.put(t, fmt.Sprint(i), i, int64(i%3)*50)
	}
	s := w.parts.Shards
	for i, b := range data {
		v := w.rnd.Uint64() >> w.rnd.IntN(64)
		if b%4 == 0 {
			v = uint64(b) / 4
		}
		switch sh := &s[i%len(s)]; b % 8 {
		case 0:
			sh.Tail.Store(v)
		case 1:
			sh.Low.Store(v)
		case 2:
			sh.Tail.Add(uint64(int64(int8(v))))
		case 3:
			sh.Count.Store(v)
			sh.Bytes.Store(v)
		case 4, 5:
			w.parts.Index[w.rnd.IntN(len(w.parts.Index))].Store(v)
		default:
			w.parts.Log[w.rnd.IntN(len(w.parts.Log))].Store(v)
		}
	}
	for i := range 60 {
		key := []byte(fmt.Sprint(i))
		hash := Hash(1, key)
		for range 3 {
			var e Entry
			found, err := w.c.Find(hash, key, &e)
			if err != nil || !found {
				continue
			}
			if e.Value < 0 || e.Value%8 != 0 || e.ValueLen < 0 ||
				e.Value+e.ValueLen > 8*len(w.parts.Log) {
				t.Fatalf("%+v", e)
			}
			w.c.Valid(&e)
			w.c.MarkUsed(&e)
		}
		switch i % 4 {
		case 0:
			w.c.Remove(hash, key)
		case 1:
			w.c.Repair(w.c.ShardOf(hash))
		default:
			w.put(t, string(key), w.rnd.IntN(100), 0)
		}
	}
	for i := range w.c.Links() {
		if e, ok := w.c.At(i); ok && (e.Key < 0 || e.KeyLen < 0 || e.ValueLen < 0 ||
			e.Value+e.ValueLen > 8*len(w.parts.Log) || e.Key+e.KeyLen > e.Value) {
			t.Fatalf("%+v", e)
		}
	}
	w.c.Stats()
	for i := range w.c.Shards { // a repair mends all
		w.c.Repair(i)
	}
	w.counted()
}

// FuzzScribbled overwrites the words of a cache.
func FuzzScribbled(f *testing.F) {
	for i := range uint64(400) {
		rnd := rand.New(rand.NewPCG(i, 2))
		data := make([]byte, 1+rnd.IntN(30))
		for j := range data {
			data[j] = byte(rnd.Uint32())
		}
		f.Add(i, data)
	}
	f.Fuzz(scribbled)
}
