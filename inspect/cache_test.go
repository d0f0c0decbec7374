package inspect_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

// TestCache looks at a live cache, then at one whose words are overwritten: every look returns, and
// does not panic, and so do the calls of a process that is attached.
func TestCache(t *testing.T) {
	dir, ctx := shmemtest.Dir(t), context.Background()
	c, err := kv.CreateCache[string]("c", &kv.CacheOptions{Dir: dir, Size: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 50 {
		ttl := time.Hour
		if i%5 == 0 {
			ttl = time.Nanosecond
		}
		if err := c.SetFor(ctx, fmt.Sprint(i), fmt.Appendf(nil, "value %d", i), ttl); err != nil {
			t.Fatal(err)
		}
	}
	o, err := inspect.Open(dir, "c")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	n := 0
	for e, err := range o.CacheEntries() {
		if err != nil || string(e.Value) != "value "+string(e.Key) || time.Until(e.Expires) < time.Minute {
			t.Errorf("%+v %v", e, err)
		}
		n++
	}
	st, err := o.CacheStats()
	if err != nil || n != 40 || st.Entries != 50 || st.Changes != 50 || st.Size > 64<<10 {
		t.Errorf("%d entries, %+v %v", n, st, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "c"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 1000 {
		var b [8]byte
		binary.NativeEndian.PutUint64(b[:], r.Uint64()>>r.IntN(64))
		at := r.IntN(st.Size / 8)
		if i%4 == 0 {
			at = 16 + r.IntN(10) // a shard: not its lock, which may be another process's then
		}
		if at == 16 {
			continue
		}
		if _, err := f.WriteAt(b[:], int64(at)*8); err != nil {
			t.Fatal(err)
		}
		for _, err := range o.CacheEntries() {
			if err != nil {
				t.Error(err)
			}
		}
		if st, err := o.CacheStats(); err != nil || st.Entries < 0 || st.Bytes < 0 {
			t.Error(st, err)
		}
		k := fmt.Sprint(r.IntN(60))
		if _, _, err := c.Get(k); err != nil && !errors.Is(err, shmem.ErrCorrupt) &&
			!errors.Is(err, shmem.ErrContended) {
			t.Error(err)
		}
		if err := c.Set(ctx, k, make([]byte, r.IntN(2000))); err != nil {
			t.Error(err)
		}
	}
	box, err := shmem.Create[int64]("b", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	b, err := inspect.Open(dir, "b")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, err := range b.CacheEntries() {
		if !errors.Is(err, shmem.ErrMismatch) {
			t.Error(err)
		}
	}
	if st, err := b.CacheStats(); st != nil || err != nil {
		t.Error(st, err)
	}
}
