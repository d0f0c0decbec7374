package inspect_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/shmemtest"
)

// TestMap looks at a live map, and at one whose processes have ended.
func TestMap(t *testing.T) {
	type session struct {
		User int64
		Name shmem.Text[[5]byte]
	}
	dir, ctx := shmemtest.Dir(t), context.Background()
	m, err := kv.Create[[3]int8, session]("m", &kv.Options{
		Dir: dir, Capacity: 100, Lifetime: shmem.Kept,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shmem.Remove(dir, "m") }()
	want := map[string]string{}
	for i := range int8(50) {
		if err := m.SetFor(ctx, [3]int8{i, 1}, session{User: int64(i)}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int8(50) {
		if i%2 == 0 {
			_, err = m.Delete(ctx, [3]int8{i, 1})
		} else {
			_, err = m.Expire(ctx, [3]int8{i, 1}, 0)
			want[fmt.Sprint(i)] = fmt.Sprint(i)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := m.SetFor(ctx, [3]int8{7, 7, 7}, session{}, time.Nanosecond); err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		o, err := inspect.Open(dir, "m")
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		got := map[string]string{}
		for e, err := range o.Entries() {
			if err != nil {
				t.Fatal(err)
			}
			if !e.Expires.IsZero() {
				t.Errorf("%v expires at %v", e.Key, e.Expires)
			}
			user, _ := e.Value.Field("User")
			got[e.Key.Index(0).String()] = user.String()
		}
		if !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		st, err := o.MapStats()
		if err != nil || *st != (inspect.MapStats{Capacity: 100, Len: 26, Changes: 101}) {
			t.Errorf("%+v %v", st, err)
		}
		key, value := o.Type().MapTypes()
		if key.String() != "[3]int8" || value.String() == "" {
			t.Errorf("%v and %v", key, value)
		}
		set := inspect.Assignment{Path: "Cells[0].Hash", Value: "1"}
		if err := inspect.Set(ctx, "m", &shmem.Options{Dir: dir}, set); err == nil ||
			!strings.Contains(err.Error(), "a kv.Map cannot be set") {
			t.Error(err)
		}
	}
	look()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	look()
	box, err := shmem.Create[int64]("b", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	o, err := inspect.Open(dir, "b")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, err := range o.Entries() {
		if !errors.Is(err, shmem.ErrMismatch) {
			t.Error(err)
		}
	}
	if st, err := o.MapStats(); st != nil || err != nil {
		t.Error(st, err)
	}
}

// TestMutatedMap looks at a map whose words are overwritten: every look returns, and does not panic.
func TestMutatedMap(t *testing.T) {
	dir, ctx := shmemtest.Dir(t), context.Background()
	m, err := kv.Create[uint64, uint64]("m", &kv.Options{Dir: dir, Capacity: 50})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i := range uint64(50) {
		if err := m.Set(ctx, i, i); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "m"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o, err := inspect.Open(dir, "m")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	r := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		var b [8]byte
		binary.NativeEndian.PutUint64(b[:], r.Uint64()>>r.IntN(64))
		if _, err := f.WriteAt(b[:], int64(r.IntN(int(o.Info().Size)/8))*8); err != nil {
			t.Fatal(err)
		}
		for _, err := range o.Entries() {
			if err != nil && !errors.Is(err, shmem.ErrCorrupt) && !errors.Is(err, shmem.ErrContended) {
				t.Error(err)
			}
		}
		if st, err := o.MapStats(); err != nil || st.Len > 50 {
			t.Error(st, err)
		}
	}
}
