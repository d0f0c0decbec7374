package kv_test

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

// TestEntries: a map whose types the segment tells has the entries of the map, and a change of a
// part is a change of its version.
func TestEntries(t *testing.T) {
	type padded struct {
		A int8
		B int64
	}
	dir := shmemtest.Dir(t)
	if _, err := stream.AttachEntries("m", &shmem.Options{Dir: dir}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	m := open[padded, [3]byte](t, dir, kv.Options{Capacity: 40})
	e, err := stream.AttachEntries("m", &shmem.Options{Dir: dir, Passive: true})
	check(t, err)
	defer e.Close()
	l := e.Layout()
	k, v := padded{1, 2}, [3]byte{3, 4, 5}
	key := make([]byte, l.Key.Size)
	copy(key, bytesOf(&k.A)) // without what is in the padding
	copy(key[l.Key.Fields[1].Offset:], bytesOf(&k.B))
	if l.Capacity() != 40 || l.Evicting || e.Part(key) != -1 {
		t.Error(l.Capacity(), l.Evicting, e.Part(key))
	}
	check(t, m.SetFor(background, k, v, time.Hour))
	part := e.Part(key)
	version, changes := e.Version(part), e.Changes()
	key[3] = 9 // padding
	if e.Part(key) != part {
		t.Error("bytes of padding count")
	}
	check(t, e.Set(background, key, []byte{6, 7, 8}, 0))
	if is, found, err := m.Get(k); !found || is != [3]byte{6, 7, 8} || err != nil {
		t.Error(is, found, err)
	}
	if e.Version(part) != version+1 || e.Changes() != changes+1 {
		t.Error(e.Version(part), version, e.Changes(), changes)
	}
	if all := e.Versions(nil); len(all) != l.Stripes || all[part] != version+1 {
		t.Error(all)
	}
	check(t, e.Wait(background, changes))
	key[3] = 0
	n := 0
	check(t, e.Each(part, func(is, value []byte, expires int64) {
		n++
		if string(is) != string(key) || string(value) != "\x06\x07\x08" || expires != 0 {
			t.Error(is, value, expires)
		}
	}))
	found, err := e.Delete(background, key)
	if n != 1 || !found || err != nil || m.Len() != 0 || e.Evicted() != 0 {
		t.Error(n, found, err, m.Len(), e.Evicted())
	}
	if _, err := stream.OpenEntries("m", &shmem.Options{Dir: dir}, l.Value, l.Key, 40); !errors.Is(
		err, shmem.ErrMismatch) {
		t.Error(err)
	}
	other, err := stream.OpenEntries("n", &shmem.Options{Dir: dir}, l.Key, l.Value, 8)
	check(t, err)
	check(t, other.Close())
	if info, err := shmem.Stat(dir, "n"); err != nil || info.Lifetime != shmem.Kept {
		t.Error(info, err)
	}
	check(t, shmem.Remove(dir, "n"))
	check(t, e.Close())
	if err := e.Set(background, key, []byte{6, 7, 8}, 0); !errors.Is(err, shmem.ErrClosed) {
		t.Error(err)
	}
}
