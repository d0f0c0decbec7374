package kv_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

// contents returns what All yields.
func contents[K comparable, V any](t testing.TB, m *kv.Map[K, V]) map[K]V {
	t.Helper()
	all := map[K]V{}
	for e, err := range m.All() {
		check(t, err)
		if _, twice := all[e.Key]; twice {
			t.Errorf("%v comes twice", e.Key)
		}
		all[e.Key] = e.Value
	}
	return all
}

// TestAsAMap makes random calls of two attachments, and of a Go map.
func TestAsAMap(t *testing.T) {
	for _, capacity := range []int{1, 2, 7, 64, 200} {
		dir := shmemtest.Dir(t)
		two := []*kv.Map[int32, [3]int32]{
			open[int32, [3]int32](t, dir, kv.Options{Capacity: capacity}),
			open[int32, [3]int32](t, dir, kv.Options{Capacity: capacity}),
		}
		is := map[int32][3]int32{}
		rnd := rand.New(rand.NewPCG(uint64(capacity), 3))
		for i := range 5000 {
			m, other := two[i%2], two[rnd.IntN(2)]
			k, v := rnd.Int32N(int32(capacity+capacity/2+1)), [3]int32{rnd.Int32(), int32(i), -1}
			old, had := is[k]
			full := !had && len(is) == capacity
			switch rnd.IntN(6) {
			case 0, 1:
				if err := m.Set(background, k, v); full != errors.Is(err, kv.ErrFull) || !full && err != nil {
					t.Fatalf("%d of %d: %v", len(is), capacity, err)
				}
				if !full {
					is[k] = v
				}
			case 2:
				found, err := m.Delete(background, k)
				check(t, err)
				if found != had {
					t.Fatalf("Delete(%d) is %v", k, found)
				}
				delete(is, k)
			case 3:
				keep := rnd.IntN(3) > 0
				err := m.Update(background, k, func(p *[3]int32, found bool) (bool, error) {
					if found != had || *p != old {
						t.Fatalf("Update(%d) has %v %v, want %v %v", k, *p, found, old, had)
					}
					*p = v
					return keep, nil
				})
				switch {
				case full && keep:
					if !errors.Is(err, kv.ErrFull) {
						t.Fatal(err)
					}
				case keep:
					check(t, err)
					is[k] = v
				default:
					check(t, err)
					delete(is, k)
				}
			case 4:
				if full {
					continue
				}
				was, found, err := m.Swap(background, k, v)
				check(t, err)
				if was != old || found != had {
					t.Fatalf("Swap(%d) is %v %v, want %v %v", k, was, found, old, had)
				}
				is[k] = v
			case 5:
				if !had {
					old = v
				}
				swapped, err := kv.CompareAndSwap(background, m, k, old, v)
				check(t, err)
				if swapped != had {
					t.Fatalf("CompareAndSwap(%d) is %v", k, swapped)
				}
				if had {
					is[k] = v
				}
			}
			want, has := is[k]
			if got, found, err := other.Get(k); err != nil || found != has || has && got != want {
				t.Fatalf("Get(%d) is %v %v %v, want %v %v", k, got, found, err, want, has)
			}
			if n := other.Len(); n != len(is) {
				t.Fatalf("Len is %d, want %d", n, len(is))
			}
		}
		if all := contents(t, two[0]); !maps.Equal(all, is) {
			t.Errorf("%v, want %v", all, is)
		}
		if s := two[1].Stats(); s.Capacity != capacity || s.Len != len(is) || s.Evicted+s.Expired+s.Repaired != 0 {
			t.Errorf("%+v", s)
		}
		check(t, two[0].Close())
		check(t, two[1].Close())
	}
}

// TestFull: a map takes exactly its capacity, whatever the keys are.
func TestFull(t *testing.T) {
	for _, capacity := range []int{1, 3, 1000, 4096, 10_000} {
		m := open[[2]uint64, uint64](t, shmemtest.Dir(t), kv.Options{Capacity: capacity})
		for i := range uint64(capacity) {
			check(t, m.Set(background, [2]uint64{i, i << 32}, i))
		}
		if err := m.Set(background, [2]uint64{1 << 63}, 1); !errors.Is(err, kv.ErrFull) ||
			err.Error() != "shmem: map set m: the map is full; create it with more "+
				"Options.Capacity, or with Options.Evict" {
			t.Error(err)
		}
		check(t, m.Set(background, [2]uint64{0, 0}, 7)) // an entry that is there
		if n := len(contents(t, m)); n != capacity {
			t.Errorf("%d entries of %d", n, capacity)
		}
		check(t, m.Close())
	}
}

// key has padding, a field without a name, and a text whose unused bytes count.
type key struct {
	A int8
	B int64
	_ int32
	C int16
	T shmem.Text[[5]byte]
	D [2]struct {
		X int8
		Y int16
	}
}

// TestPaddedKeys: keys that are == are one key, whatever is between their fields.
func TestPaddedKeys(t *testing.T) {
	m := open[key, int64](t, shmemtest.Dir(t), kv.Options{})
	dirty := func(fill byte) (k key) {
		b := []byte(strings.Repeat(string(rune(fill)), 200))
		copy(bytesOf(&k), b)
		k.A, k.B, k.C = 1, 2, 3
		k.T = shmem.Text[[5]byte]{}
		check(t, k.T.Set("ab"))
		for i := range k.D {
			k.D[i].X, k.D[i].Y = int8(i), 5
		}
		return k
	}
	a, b := dirty('x'), dirty('y')
	if a != b || bytes.Equal(bytesOf(&a), bytesOf(&b)) {
		t.Fatal("the keys differ, or have the same padding")
	}
	check(t, m.Set(background, a, 1))
	if v, found, err := m.Get(b); v != 1 || !found || err != nil {
		t.Error(v, found, err)
	}
	check(t, m.Set(background, b, 2))
	for e, err := range m.All() {
		if err != nil || e.Key != a || e.Value != 2 || m.Len() != 1 {
			t.Error(e, err)
		}
	}
	b.D[1].Y++
	if _, found, err := m.Get(b); found || err != nil {
		t.Error("another key is found", err)
	}
}

func TestBadTypes(t *testing.T) {
	o := &kv.Options{Dir: shmemtest.Dir(t)}
	for want, err := range map[string]error{
		"float64 is a floating point number":                                                  second(kv.Open[float64, int]("m", o)),
		"struct { X [2]complex64 }.X[] is a floating point number":                            second(kv.Open[struct{ X [2]complex64 }, int]("m", o)),
		"string holds a Go pointer":                                                           second(kv.Open[string, int]("m", o)),
		"[]int holds a Go pointer":                                                            second(kv.Open[int, []int]("m", o)),
		"struct { N atomic.Int64 }.N is an atomic or a lock, which cannot be part of a value": second(kv.Open[int, struct{ N atomicInt }]("m", o)),
		"Mutex":       second(kv.Open[int, mutex]("m", o)),
		"has no size": second(kv.Open[int, struct{}]("m", o)),
	} {
		if !errors.Is(err, shmem.ErrBadType) || !strings.HasPrefix(err.Error(), "shmem: map open m: ") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestOpening: names, capacities and types that do not fit.
func TestOpening(t *testing.T) {
	dir := shmemtest.Dir(t)
	_, err := kv.Attach[int, int]("m", &kv.Options{Dir: dir})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	m := open[int32, int64](t, dir, kv.Options{Capacity: 10})
	if s := m.Segment(); m.Name() != "m" || s.Lifetime() != shmem.Shared || !m.Linked() || m.Owned() {
		t.Error(m.Name(), s.Lifetime(), m.Linked(), m.Owned())
	}
	_, err = kv.Create[int32, int64]("m", &kv.Options{Dir: dir})
	if !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	waited, err := kv.AttachWait[int32, int64](background, "m", &kv.Options{Dir: dir})
	check(t, err)
	check(t, waited.Close())
	for want, err := range map[string]error{
		"created with Capacity 10, Options.Capacity asks for 11":                 second(kv.Open[int32, int64]("m", &kv.Options{Dir: dir, Capacity: 11})),
		"created without Evict":                                                  second(kv.Open[int32, int64]("m", &kv.Options{Dir: dir, Evict: true})),
		"field Value: here [2]int64 at 0, in the segment int64 at 0":             second(kv.Open[int32, [2]int64]("m", &kv.Options{Dir: dir})),
		"field Key: here uint32 at 0, in the segment int32 at 0":                 second(kv.Open[uint32, int64]("m", &kv.Options{Dir: dir})),
		"the segment is a kv.Map of int32 and int64 (see kv.Open), not a box of": second(shmem.Open[int64]("m", &shmem.Options{Dir: dir})),
	} {
		if !errors.Is(err, shmem.ErrMismatch) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, capacity := range []int{-1, 1<<30 + 1} {
		_, err := kv.Open[int32, int64]("n", &kv.Options{Dir: dir, Capacity: capacity})
		if !errors.Is(err, shmem.ErrBadOption) {
			t.Error(err)
		}
	}
	box, err := shmem.Create[int64]("b", &shmem.Options{Dir: dir})
	check(t, err)
	defer box.Close()
	_, err = kv.Open[int32, int64]("b", &kv.Options{Dir: dir})
	if !errors.Is(err, shmem.ErrMismatch) || !strings.Contains(err.Error(), "not a kv.Map") {
		t.Error(err)
	}
}

// TestClosed: calls after Close, and calls that wait, return ErrClosed.
func TestClosed(t *testing.T) {
	m := open[int, int](t, shmemtest.Dir(t), kv.Options{})
	check(t, m.Set(background, 1, 1))
	watching, ended := make(chan bool), make(chan error)
	go func() {
		var last error
		for _, err := range m.Watch(background, 1) {
			if last = err; err == nil {
				watching <- true
			}
		}
		ended <- last
	}()
	<-watching
	check(t, m.Close())
	all := []error{<-ended, second(m.Delete(background, 1)), m.Set(background, 1, 1), third(m.Get(1)),
		m.Update(background, 1, func(*int, bool) (bool, error) { return true, nil }),
		second(kv.Add(background, m, 1, 1, 0)), second(m.Expire(background, 1, 1))}
	for _, err := range m.All() {
		all = append(all, err)
	}
	for _, err := range m.Changes(background) {
		all = append(all, err)
	}
	for _, err := range all {
		if !errors.Is(err, shmem.ErrClosed) || !strings.HasSuffix(err.Error(), "the map is closed") {
			t.Error(err)
		}
	}
	if len(all) != 9 || m.Len() != 0 || m.Stats() != (kv.Stats{}) {
		t.Error(len(all), m.Len(), m.Stats())
	}
}

func third[A, B any](_ A, _ B, err error) error { return err }

// TestReadOnly: a map that is attached read-only can be read, also before the first change.
func TestReadOnly(t *testing.T) {
	dir := shmemtest.Dir(t)
	m := open[int, int](t, dir, kv.Options{Evict: true})
	r := open[int, int](t, dir, kv.Options{ReadOnly: true})
	if _, found, err := r.Get(1); found || err != nil {
		t.Error(found, err)
	}
	check(t, m.Set(background, 1, 5))
	if v, found, err := r.Get(1); v != 5 || !found || err != nil {
		t.Error(v, found, err)
	}
	if err := r.Set(background, 1, 5); !errors.Is(err, shmem.ErrReadOnly) {
		t.Error(err)
	}
	if all := contents(t, r); len(all) != 1 || r.Len() != 1 {
		t.Error(all)
	}
}

// TestUpdateFails: an error or a panic of the function changes nothing, and leaves no lock.
func TestUpdateFails(t *testing.T) {
	m := open[int, int](t, shmemtest.Dir(t), kv.Options{Capacity: 1})
	check(t, m.Set(background, 1, 1))
	mine := errors.New("mine")
	err := m.Update(background, 1, func(v *int, _ bool) (bool, error) { *v = 2; return true, mine })
	if err != mine {
		t.Error(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not pass")
			}
		}()
		_ = m.Update(background, 1, func(v *int, _ bool) (bool, error) { *v = 3; panic("no") })
	}()
	if v, found, err := m.Get(1); v != 1 || !found || err != nil {
		t.Error(v, found, err)
	}
	// The function may read, its own key too.
	check(t, m.Update(background, 1, func(v *int, _ bool) (bool, error) {
		old, found, err := m.Get(1)
		*v = old + 1
		return found, err
	}))
	check(t, m.Set(background, 1, 4))
	ctx, cancel := contextThatIsDone()
	defer cancel()
	check(t, m.Update(background, 1, func(v *int, _ bool) (bool, error) {
		if err := m.Set(ctx, 1, 5); !errors.Is(err, ctx.Err()) || err == nil {
			t.Error(err)
		}
		return true, nil
	}))
}

// expiring stores entries 1 and 3, which expire soon, and 2, which does not. It returns when they
// expire, or nil if that was too soon to see that they were there.
func expiring(t *testing.T, m *kv.Map[int, int64], soon time.Duration) map[int]time.Time {
	t.Helper()
	begin := time.Now()
	check(t, m.SetFor(background, 1, 1, soon))
	check(t, m.SetFor(background, 2, 2, time.Hour))
	sum, err := kv.Add(background, m, 3, 5, soon)
	check(t, err)
	n, err := kv.Add(background, m, 3, 5, time.Hour) // the expiry of the first stays
	check(t, err)
	check(t, m.Update(background, 1, func(v *int64, found bool) (bool, error) { *v = 9; return found, nil }))
	full := m.Set(background, 4, 4)
	expires := map[int]time.Time{}
	for e, err := range m.All() {
		check(t, err)
		expires[e.Key] = e.Expires
	}
	if time.Since(begin) >= soon {
		return nil
	}
	if n != 10 || sum != 5 || !errors.Is(full, kv.ErrFull) {
		t.Error(n, sum, full)
	}
	if d := time.Until(expires[2]); len(expires) != 3 || d > time.Hour || d < time.Hour-time.Minute {
		t.Error(expires)
	}
	return expires
}

// TestExpiry: entries that have expired are not found, and make room.
func TestExpiry(t *testing.T) {
	var m *kv.Map[int, int64]
	var expires map[int]time.Time
	for soon := 30 * time.Millisecond; expires == nil; soon *= 2 {
		m = open[int, int64](t, shmemtest.Dir(t), kv.Options{Capacity: 3})
		expires = expiring(t, m, soon)
	}
	for _, key := range []int{1, 3} { // found until then, whatever else happens
		for found := true; found; {
			before := time.Now()
			var err error
			_, found, err = m.Get(key)
			check(t, err)
			if !found && time.Now().Before(expires[key]) || found && before.After(expires[key]) {
				t.Fatalf("%d: found %v at %v, it expires at %v", key, found, before, expires[key])
			}
		}
	}
	if all := contents(t, m); len(all) != 1 || m.Len() != 3 {
		t.Error(all, m.Len())
	}
	check(t, m.Set(background, 4, 4))
	check(t, m.Set(background, 5, 5))
	if err := m.Set(background, 6, 6); !errors.Is(err, kv.ErrFull) {
		t.Error(err)
	}
	if s := m.Stats(); s.Expired != 2 || s.Evicted != 0 {
		t.Errorf("%+v", s)
	}
	// An expired entry is none for those who change it.
	check(t, m.SetFor(background, 4, 4, time.Nanosecond))
	time.Sleep(time.Millisecond)
	if found, err := m.Delete(background, 4); found || err != nil {
		t.Error(found, err)
	}
	if found, err := m.Expire(background, 5, time.Nanosecond); !found || err != nil {
		t.Error(found, err)
	}
	time.Sleep(time.Millisecond)
	if n, err := kv.Add(background, m, 5, 3, 0); n != 3 || err != nil {
		t.Error(n, err)
	}
	if err := m.SetFor(background, 1, 1, -1); !errors.Is(err, shmem.ErrBadOption) {
		t.Error(err)
	}
	if found, err := m.Expire(background, 77, 1); found || err != nil {
		t.Error(found, err)
	}
}

// TestEvict: a full map removes entries that were not used lately.
func TestEvict(t *testing.T) {
	const capacity = 100
	m := open[int, int](t, shmemtest.Dir(t), kv.Options{Capacity: capacity, Evict: true})
	for i := range capacity {
		check(t, m.Set(background, i, i))
	}
	for round := range 20 {
		for i := capacity / 2; i < capacity*7/10; i++ { // some are changed
			if n, err := kv.Add(background, m, i, 0, 0); n != i || err != nil {
				t.Fatalf("round %d: %d is %d %v", round, i, n, err)
			}
		}
		for i := range capacity / 2 { // half of them are read
			if v, found, err := m.Get(i); v != i || !found || err != nil {
				t.Fatalf("round %d: %d is %d %v %v", round, i, v, found, err)
			}
		}
		for i := range capacity / 5 {
			check(t, m.Set(background, 1000+round*capacity+i, i))
		}
		if n := len(contents(t, m)); n != capacity {
			t.Fatalf("%d entries", n)
		}
	}
	if s := m.Stats(); s.Evicted != 20*capacity/5 || s.Len != capacity {
		t.Errorf("%+v", s)
	}
}

func TestNumbers(t *testing.T) {
	type word uint8
	m := open[word, float64](t, shmemtest.Dir(t), kv.Options{})
	for _, n := range []float64{1.5, -3, 2.5} {
		_, err := kv.Add(background, m, 1, n, 0)
		check(t, err)
	}
	if v, _, _ := m.Get(1); v != 1 {
		t.Error(v)
	}
	for _, c := range []struct{ n, want float64 }{{-2, -2}, {-3, -2}, {4, 4}, {4, 4}} {
		if v, err := kv.Max(background, m, 2, c.n); v != c.want || err != nil {
			t.Errorf("Max(%v) is %v %v", c.n, v, err)
		}
	}
	if _, err := kv.Add(background, m, 1, 1, -1); !errors.Is(err, shmem.ErrBadOption) {
		t.Error(err)
	}
}

// TestLargeValue has values and keys that are longer than what is copied at once.
func TestLargeValue(t *testing.T) {
	m := open[[101]byte, [10_001]byte](t, shmemtest.Dir(t), kv.Options{Capacity: 5})
	for i := range byte(5) {
		check(t, m.Set(background, [101]byte{100: i}, [10_001]byte{0: i, 10_000: i + 1}))
	}
	for i := range byte(5) {
		var v [10_001]byte
		found, err := m.GetTo([101]byte{100: i}, &v)
		if !found || err != nil || v[0] != i || v[10_000] != i+1 {
			t.Error(i, found, err, v[0], v[10_000])
		}
	}
	if n := len(contents(t, m)); n != 5 {
		t.Error(n)
	}
}

func TestAllocs(t *testing.T) {
	m := open[[16]byte, [64]byte](t, shmemtest.Dir(t), kv.Options{})
	check(t, m.Set(background, [16]byte{1}, [64]byte{}))
	var v [64]byte
	for name, f := range map[string]func(){
		"Get":    func() { _, _, _ = m.Get([16]byte{1}) },
		"GetTo":  func() { _, _ = m.GetTo([16]byte{1}, &v) },
		"Set":    func() { _ = m.Set(background, [16]byte{1}, v) },
		"SetFor": func() { _ = m.SetFor(background, [16]byte{2}, v, time.Hour) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkMap(b *testing.B) {
	m := open[[2]uint64, [64]byte](b, shmemtest.Dir(b), kv.Options{Capacity: 100_000})
	var v [64]byte
	const n = 100_000
	for i := range uint64(n) {
		check(b, m.Set(background, [2]uint64{i, i}, v))
	}
	b.Run("Get", func(b *testing.B) {
		for i := uint64(0); b.Loop(); i++ {
			k := i * 7919 % n
			if found, err := m.GetTo([2]uint64{k, k}, &v); !found || err != nil {
				b.Fatal(found, err)
			}
		}
	})
	b.Run("Set", func(b *testing.B) {
		for i := uint64(0); b.Loop(); i++ {
			k := i * 7919 % n
			if err := m.Set(background, [2]uint64{k, k}, v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestCloseWhileGetting: calls of Get during and after Close return ErrClosed, or what is there,
// also where another map lies at the same addresses by then.
func TestCloseWhileGetting(t *testing.T) {
	dir := shmemtest.Dir(t)
	const keys = 50
	for range 50 {
		m := open[uint64, [9]uint64](t, dir, kv.Options{Capacity: keys})
		for k := range uint64(keys) {
			check(t, m.Set(background, k, [9]uint64{k, 8: k}))
		}
		var getting, all sync.WaitGroup
		for range 4 {
			getting.Add(1)
			all.Go(func() {
				for n := uint64(0); ; n++ {
					v, found, err := m.Get(n % keys)
					if errors.Is(err, shmem.ErrClosed) && !found && v == [9]uint64{} {
						return
					}
					if err != nil || !found || v[0] != n%keys || v[8] != n%keys {
						t.Errorf("%v, %v, %v for %d", v, found, err, n%keys)
						return
					}
					if n == 0 {
						getting.Done()
					}
				}
			})
		}
		getting.Wait()
		check(t, m.Close())
		all.Wait()
	}
}

// TestStaleMap: calls of closed maps return ErrClosed and nothing else, while maps of the same and of
// other types are opened at their addresses, changed and closed.
func TestStaleMap(t *testing.T) {
	dir := shmemtest.Dir(t)
	const keys = 20
	var ended atomic.Bool
	var all sync.WaitGroup
	defer func() {
		ended.Store(true)
		all.Wait()
	}()
	stale(t, &all, &ended, dir, func(i uint64) [2]uint64 { return [2]uint64{i, i} }, [8]uint64{1, 7: 1})
	stale(t, &all, &ended, dir, func(i uint64) uint64 { return i }, [9]uint64{1, 8: 1})
	stale(t, &all, &ended, dir, func(i uint64) int32 { return int32(i) }, int8(1))
	stale(t, &all, &ended, dir, func(i uint64) [3]int16 { return [3]int16{int16(i), 1} }, [70]uint64{1, 69: 1})
	for range 100 {
		a := open[uint64, [9]uint64](t, dir, kv.Options{Capacity: keys})
		b := open[[3]uint64, [30]byte](t, shmemtest.Dir(t), kv.Options{Capacity: 2 * keys})
		for i := range uint64(keys) {
			check(t, a.Set(background, i, [9]uint64{1, 8: 1}))
			check(t, b.Set(background, [3]uint64{i, i, i}, [30]byte{1}))
		}
		for i := range uint64(keys) {
			if v, found, err := a.Get(i); v != [9]uint64{1, 8: 1} || !found || err != nil {
				t.Fatal(v, found, err)
			}
			if v, found, err := b.Get([3]uint64{i, i, i}); v != [30]byte{1} || !found || err != nil {
				t.Fatal(v, found, err)
			}
		}
		check(t, a.Close())
		check(t, b.Close())
	}
}

// stale closes a map, and reads it until the test has ended.
func stale[K, V comparable](
	t *testing.T, all *sync.WaitGroup, ended *atomic.Bool, dir string, key func(uint64) K, v V,
) {
	m := open[K, V](t, dir, kv.Options{Capacity: 20})
	for i := range uint64(20) {
		check(t, m.Set(background, key(i), v))
	}
	check(t, m.Close())
	all.Go(func() {
		var none V
		for i := uint64(0); !ended.Load(); i++ {
			got, found, err := m.Get(key(i % 20))
			if found || got != none || !errors.Is(err, shmem.ErrClosed) {
				t.Errorf("a closed map has %v %v %v", got, found, err)
				return
			}
			if n := len(errorsOf(m)); n != 1 || m.Len() != 0 {
				t.Errorf("a closed map has %d errors in All, %d entries", n, m.Len())
				return
			}
			runtime.Gosched()
		}
	})
}

// errorsOf returns the errors of All.
func errorsOf[K comparable, V any](m *kv.Map[K, V]) (all []error) {
	for _, err := range m.All() {
		all = append(all, err)
	}
	return all
}

// TestGoexitInUpdate: a goroutine that ends in the function of Update changes nothing, and leaves no
// lock.
func TestGoexitInUpdate(t *testing.T) {
	m := open[int, int](t, shmemtest.Dir(t), kv.Options{Capacity: 1})
	check(t, m.Set(background, 1, 1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Update(background, 1, func(v *int, _ bool) (bool, error) {
			*v = 2
			runtime.Goexit()
			return true, nil
		})
	}()
	<-done
	if v, found, err := m.Get(1); v != 1 || !found || err != nil {
		t.Error(v, found, err)
	}
	check(t, m.Set(background, 1, 3))
}
