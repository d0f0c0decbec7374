package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/embedded"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/kv"
)

type word = shmem.Text[[24]byte]

func named(s string) (n word) {
	if err := n.Set(s); err != nil {
		panic(err)
	}
	return n
}

func openMap[K comparable, V any](
	t *testing.T, dir, name string, o kv.Options,
) *kv.Map[K, V] {
	t.Helper()
	o.Dir = dir
	m, err := kv.Open[K, V](name, &o)
	check(t, err)
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// entriesOf returns what a map has.
func entriesOf[K comparable, V any](t *testing.T, m *kv.Map[K, V]) map[K]V {
	t.Helper()
	all := map[K]V{}
	for e, err := range m.All() {
		check(t, err)
		all[e.Key] = e.Value
	}
	return all
}

// mirrored waits until a mirror is as its origin.
func mirrored[K comparable, V comparable](t *testing.T, from, to *kv.Map[K, V]) {
	t.Helper()
	until(t, "the same entries", func() bool {
		return maps.Equal(entriesOf(t, from), entriesOf(t, to))
	})
}

// mirrorOf attaches to the mirror of a map.
func mirrorOf[K comparable, V any](t *testing.T, dir, name string) *kv.Map[K, V] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m, err := kv.AttachWait[K, V](ctx, name, &kv.Options{Dir: dir})
	check(t, err)
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// TestMap: a late host gets the whole map; what is stored and removed arrives; NATS's own client
// finds an entry by its name; a mirror that another process changes is put right.
func TestMap(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	from := openMap[word, point](t, x.a, "m", kv.Options{Capacity: 300})
	for i := range int64(200) {
		check(t, from.Set(ctx, named(fmt.Sprintf("user@%d", i)), point{i, 1}))
	}
	x.run(x.a, "map:m", true)
	in := x.run(x.b, "map:m=n", false)
	to := mirrorOf[word, point](t, x.b, "n")
	mirrored(t, from, to)
	if st := to.Stats(); st.Capacity != 300 {
		t.Errorf("the mirror has room for %d", st.Capacity)
	}
	check(t, from.Set(ctx, named("user@7"), point{7, 2}))
	check(t, from.Set(ctx, named("user@1000"), point{0, 3}))
	_, err := from.Delete(ctx, named("user@8"))
	check(t, err)
	mirrored(t, from, to)

	js, err := jetstream.New(x.nc)
	check(t, err)
	bucket, err := js.KeyValue(ctx, "shmem_map_m")
	check(t, err)
	e, err := bucket.Get(ctx, "user=407")
	check(t, err)
	if len(e.Value()) != frameLen+24+16 || e.Value()[frameLen+24] != 7 {
		t.Errorf("%q", e.Value())
	}
	if n := in.Stats()[0].LocalWrites; n != 0 {
		t.Errorf("%d changes were put right", n)
	}
	check(t, to.Set(ctx, named("user@7"), point{9, 9}))
	check(t, to.Set(ctx, named("mine"), point{9, 9}))
	_, err = to.Delete(ctx, named("user@9"))
	check(t, err)
	until(t, "the count", func() bool { return in.Stats()[0].LocalWrites == 3 })
	mirrored(t, from, to)
	if n := in.Stats()[0].LocalWrites; n != 3 {
		t.Errorf("%d changes were put right, want 3", n)
	}
}

// TestMapAway: what changed in the map and in the mirror while no bridge ran is compared in full. A
// map that was made anew empties the mirror.
func TestMapAway(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	from := openMap[int32, point](t, x.a, "m", kv.Options{Capacity: 64})
	for i := range int32(50) {
		check(t, from.Set(ctx, i-25, point{int64(i), 0}))
	}
	endOut, endIn := x.start(x.a, "map:m", true), x.start(x.b, "map:m", false)
	to := mirrorOf[int32, point](t, x.b, "m")
	mirrored(t, from, to)
	before := to.Stats()
	endOut()
	endIn()
	for i := range int32(10) {
		_, err := from.Delete(ctx, i-25)
		check(t, err)
		check(t, from.Set(ctx, i, point{1, 1}))
		check(t, from.Set(ctx, 100+i, point{2, 2}))
		check(t, to.Set(ctx, 10+i, point{3, 3}))
		_, err = to.Delete(ctx, -10+i)
		check(t, err)
	}
	check(t, to.Set(ctx, 1000, point{3, 3}))
	endOut, endIn = x.start(x.a, "map:m", true), x.start(x.b, "map:m", false)
	mirrored(t, from, to)
	if st := to.Stats(); st.Len != before.Len {
		t.Errorf("%d entries, before %d", st.Len, before.Len)
	}
	endOut()
	check(t, from.Close())
	from = openMap[int32, point](t, x.a, "m", kv.Options{Capacity: 64})
	endOut = x.start(x.a, "map:m", true)
	until(t, "no entry", func() bool { return to.Len() == 0 })
	check(t, from.Set(ctx, 1, point{1, 1}))
	mirrored(t, from, to)
	endOut()
	endIn()
}

// TestMapExpiry: an entry of the mirror expires when that of the map does, also if no bridge runs
// by then. The bucket does not keep it.
func TestMapExpiry(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	from := openMap[[3]byte, point](t, x.a, "m", kv.Options{})
	soon, late := [3]byte{1}, [3]byte{0xab, 2, 3}
	check(t, from.SetFor(ctx, soon, point{1, 1}, 700*time.Millisecond))
	check(t, from.SetFor(ctx, late, point{2, 2}, time.Hour))
	endOut := x.start(x.a, "map:m", true)
	x.run(x.b, "map:m", false)
	to := mirrorOf[[3]byte, point](t, x.b, "m")
	when := func(m *kv.Map[[3]byte, point], k [3]byte) (at time.Time) {
		for e, err := range m.All() {
			check(t, err)
			if e.Key == k {
				at = e.Expires
			}
		}
		return at
	}
	until(t, "the entry", func() bool { return when(to, late).Equal(when(from, late)) })
	_, err := from.Expire(ctx, late, 2*time.Hour)
	check(t, err)
	until(t, "the other time", func() bool { return when(to, late).Equal(when(from, late)) })
	endOut()
	until(t, "the expiry", func() bool { return when(to, soon).IsZero() && when(from, soon).IsZero() })
	js, err := jetstream.New(x.nc)
	check(t, err)
	bucket, err := js.KeyValue(ctx, "shmem_map_m")
	check(t, err)
	if _, err := bucket.Get(ctx, "ab0203"); err != nil {
		t.Error(err)
	}
	until(t, "the expiry in the bucket", func() bool {
		_, err := bucket.Get(ctx, "010000")
		return errors.Is(err, jetstream.ErrKeyNotFound)
	})
	x.run(x.a, "map:m", true)
	check(t, from.SetFor(ctx, soon, point{1, 1}, 50*time.Millisecond))
	until(t, "another expiry", func() bool {
		_, err := bucket.Get(ctx, "010000")
		return when(from, soon).IsZero() && errors.Is(err, jetstream.ErrKeyNotFound)
	})
	check(t, from.Set(ctx, soon, point{3, 3}))
	mirrored(t, from, to)
}

// TestMapRoom: a mirror without room for all entries counts those that are left out, and takes them
// when there is room; one that evicts counts what it evicted.
func TestMapRoom(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	from := openMap[int64, point](t, x.a, "m", kv.Options{Capacity: 16})
	small := openMap[int64, point](t, x.b, "small", kv.Options{Capacity: 4})
	evicting := openMap[int64, point](t, x.b, "evicting", kv.Options{Capacity: 4, Evict: true})
	x.run(x.a, "map:m", true)
	in := x.run(x.b, "map:m=small", false)
	ev := x.run(x.b, "map:m=evicting", false)
	for i := range int64(10) {
		check(t, from.Set(ctx, i, point{i, i}))
	}
	until(t, "six without room", func() bool { return in.Stats()[0].NoRoom == 6 })
	until(t, "six evicted", func() bool { return ev.Stats()[0].Evicted >= 6 })
	if n := evicting.Len(); n > 4 {
		t.Error(n)
	}
	for i := range int64(6) {
		_, err := from.Delete(ctx, i)
		check(t, err)
	}
	mirrored(t, from, small)
	until(t, "room", func() bool { return in.Stats()[0].NoRoom == 0 })
	if n := in.Stats()[0].LocalWrites + ev.Stats()[0].LocalWrites; n != 0 {
		t.Errorf("%d changes were put right", n)
	}
}

// TestMapWriters: the bridge that began later has the map, the former stops. What another program
// writes to the bucket is put right, and counted.
func TestMapWriters(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	from := openMap[int64, point](t, x.a, "m", kv.Options{Capacity: 16})
	check(t, from.Set(ctx, 1, point{1, 1}))
	first := x.run(x.a, "map:m", true)
	until(t, "the first", func() bool { return first.Stats()[0].Acked == 1 })
	second := x.run(x.a, "map:m", true)
	hasError(t, first, ErrOtherWriter)
	js, err := jetstream.New(x.nc)
	check(t, err)
	bucket, err := js.KeyValue(ctx, "shmem_map_m")
	check(t, err)
	x.run(x.b, "map:m", false)
	to := mirrorOf[int64, point](t, x.b, "m")
	mirrored(t, from, to)
	_, err = bucket.Put(ctx, "1", []byte("no frame"))
	check(t, err)
	_, err = bucket.Put(ctx, "stray", []byte("no frame"))
	check(t, err)
	until(t, "the entry again", func() bool {
		e, err := bucket.Get(ctx, "1")
		return err == nil && len(e.Value()) == frameLen+8+16
	})
	until(t, "no stray", func() bool {
		_, err := bucket.Get(ctx, "stray")
		return errors.Is(err, jetstream.ErrKeyNotFound)
	})
	check(t, bucket.Delete(ctx, "1"))
	until(t, "the entry again", func() bool { _, err := bucket.Get(ctx, "1"); return err == nil })
	if n := second.Stats()[0].OtherWriter; n != 2 {
		t.Errorf("%d writes of others, want 2", n)
	}
	mirrored(t, from, to)
	check(t, from.Set(ctx, 2, point{2, 2}))
	mirrored(t, from, to)
}

// TestMapTypes: a mirror of other types is refused with both shown; so is a segment that is no map.
// An entry that cannot be read is left out, and others go on.
func TestMapTypes(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	from := openMap[int64, point](t, x.a, "m", kv.Options{Capacity: 16})
	openMap[int64, otherPoint](t, x.b, "other", kv.Options{Capacity: 16})
	openBox[point](t, x.a)
	_ = hasError(t, x.run(x.a, "map:p", true), ErrRefused)
	end := x.start(x.a, "map:m", true)
	err := hasError(t, x.run(x.b, "map:m=other", false), ErrRefused)
	if !strings.Contains(err.Error(), "Value.Y") || !strings.Contains(err.Error(), "Value.Z") {
		t.Error(err)
	}
	in := x.run(x.b, "map:m", false)
	to := mirrorOf[int64, point](t, x.b, "m")
	check(t, from.Set(ctx, 1, point{1, 1}))
	mirrored(t, from, to)
	end()
	js, err := jetstream.New(x.nc)
	check(t, err)
	bucket, err := js.KeyValue(ctx, "shmem_map_m")
	check(t, err)
	odd := frame{kind: codes[kindMap], fingerprint: 77, key: make([]byte, 8)}
	_, err = bucket.Put(ctx, "0", odd.append(nil))
	check(t, err)
	until(t, "the refusal", func() bool { return in.Stats()[0].Poison == 1 })
	x.run(x.a, "map:m", true)
	check(t, from.Set(ctx, 2, point{2, 2}))
	mirrored(t, from, to)
}

// TestKeyName: the names of keys in a bucket are allowed there, and differ.
func TestKeyName(t *testing.T) {
	type pair struct {
		User word
		Part [2]uint16
		On   bool
	}
	for _, c := range []struct{ is, want string }{
		{nameOf(t, int64(-7)), "-7"}, {nameOf(t, uint8(200)), "200"},
		{nameOf(t, int16(-300)), "-300"}, {nameOf(t, true), "true"},
		{nameOf(t, [2]byte{1, 0xfe}), "01fe"}, {nameOf(t, [3]int32{1, -2, 3}), "1.-2.3"},
		{nameOf(t, named("")), "="}, {nameOf(t, named("a.b")), "a.b"},
		{nameOf(t, named(".a..b.")), "=2Ea=2E.b=2E"},
		{nameOf(t, named("_x y=_")), "=5Fx=20y=3D_"}, {nameOf(t, named("ü")), "=C3=BC"},
		{nameOf(t, pair{named("a.b"), [2]uint16{1, 2}, true}), "a=2Eb.1.2.true"},
		{nameOf(t, [600]byte{})[:10], "=x2230df03"},
	} {
		if c.is != c.want {
			t.Errorf("%q, want %q", c.is, c.want)
		}
	}
}

// FuzzKeyName: different texts have different names, which a bucket allows.
func FuzzKeyName(f *testing.F) {
	f.Add("a..b", "a.=2Eb")
	f.Add("", "=")
	f.Fuzz(func(t *testing.T, a, b string) {
		var x, y word
		if x.Set(a) != nil || y.Set(b) != nil {
			return
		}
		p, q := nameOf(t, x), nameOf(t, y)
		if (a == b) != (p == q) {
			t.Errorf("%q is %q, %q is %q", a, p, b, q)
		}
		if p == "" || p == headName || p[0] == '.' || strings.HasSuffix(p, ".") ||
			strings.Contains(p, "..") || strings.Trim(p, alphabet) != "" {
			t.Errorf("%q: %q", a, p)
		}
	})
}

const alphabet = "-/_=.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// nameOf returns the name of a key.
func nameOf[K any](t testing.TB, k K) string {
	t.Helper()
	typ, err := format.Of(reflect.TypeFor[K]())
	check(t, err)
	return keyName(typ, mem.Bytes(&k))
}

// TestMapTurmoil: while a map and its mirror are changed at random, bridges end and begin, and the
// server is restarted. In the end the mirror is as the map is.
func TestMapTurmoil(t *testing.T) {
	store := t.TempDir()
	s, err := embedded.Start(store, -1)
	check(t, err)
	at, err := url.Parse(s.URL())
	check(t, err)
	port, err := strconv.Atoi(at.Port())
	check(t, err)
	x := newSite(t)
	x.nc, err = nats.Connect(s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	check(t, err)
	defer x.nc.Close()
	from := openMap[int64, point](t, x.a, "m", kv.Options{Capacity: 64, Evict: true})
	check(t, from.Set(t.Context(), 1, point{1, 1}))
	endOut, endIn := x.start(x.a, "map:m", true), x.start(x.b, "map:m", false)
	to := mirrorOf[int64, point](t, x.b, "m")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	for i, m := range []*kv.Map[int64, point]{from, to} {
		go func() {
			defer func() { done <- struct{}{} }()
			for n := int64(0); ctx.Err() == nil; n++ {
				k := rand.Int64N(100)
				switch rand.N(4) {
				case 0:
					_, _ = m.Delete(ctx, k)
				case 1:
					_ = m.SetFor(ctx, k, point{n, k}, rand.N(100*time.Millisecond))
				default:
					_ = m.Set(ctx, k, point{n, k})
				}
				time.Sleep(time.Duration(20*i) * time.Millisecond)
				if n%64 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}()
	}
	for range 3 {
		time.Sleep(100 * time.Millisecond)
		endOut()
		endOut = x.start(x.a, "map:m", true)
		time.Sleep(100 * time.Millisecond)
		endIn()
		endIn = x.start(x.b, "map:m", false)
	}
	s.Close()
	s, err = embedded.Start(store, port)
	check(t, err)
	defer s.Close()
	time.Sleep(200 * time.Millisecond)
	stop()
	<-done
	<-done
	mirrored(t, from, to)
	time.Sleep(50 * time.Millisecond)
	mirrored(t, from, to)
	endOut()
	endIn()
}
