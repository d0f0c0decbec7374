package layout_test

import (
	"reflect"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/cache"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

// A cache as a Go struct, with 2 shards of 3 buckets and 50 words.
type cachePayload struct {
	Cache  cache.Header
	Shards [2]cache.Shard
	Index  [2 * 3 * cache.Ways]atomic.Uint64
	Log    [2 * 50]atomic.Uint64
}

// TestCache compares the payload of a cache with a Go struct that is written out, and finds it
// again in what is stored.
func TestCache(t *testing.T) {
	c, err := layout.NewCache(2, 3, 50)
	if err != nil {
		t.Fatal(err)
	}
	goType := reflect.TypeFor[cachePayload]()
	if int(goType.Size()) != c.Type.Size {
		t.Errorf("%d bytes, want %d", c.Type.Size, goType.Size())
	}
	for name, off := range map[string]int{
		"Shards": c.ShardsAt, "Index": c.IndexAt, "Log": c.LogAt,
	} {
		if f, ok := goType.FieldByName(name); !ok || int(f.Offset) != off {
			t.Errorf("%s at %d, want %d", name, off, f.Offset)
		}
	}
	stored, err := format.Decode(c.Type.AppendBinary(nil))
	if err != nil {
		t.Fatal(err)
	}
	got, err := layout.CacheOf(stored)
	if err != nil || got.Shards != 2 || got.Buckets != 3 || got.Words != 50 {
		t.Errorf("%+v, %v", got, err)
	}
	if want := "a kv.Cache (see kv.OpenCache)"; layout.Described(stored) != want {
		t.Errorf("%s, want %s", layout.Described(stored), want)
	}
	none := of(t, reflect.TypeFor[cachePayload]())
	for _, none := range []*format.Type{nil, none, c.Type.Fields[1].Type} {
		if m, err := layout.CacheOf(none); err != layout.ErrNoCache {
			t.Errorf("%v is a cache: %v", none, m)
		}
	}
	for _, n := range [][3]int{{}, {0, 1, 1}, {1, 0, 1}, {1, 1, 0}, {1, 1, 1<<30 + 1}} {
		if _, err := layout.NewCache(n[0], n[1], n[2]); err != layout.ErrSize {
			t.Errorf("%v: %v", n, err)
		}
	}
}
