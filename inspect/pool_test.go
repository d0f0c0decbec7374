package inspect_test

import (
	"os"
	"testing"
	"time"

	"github.com/shmembox/shmem/blob"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/shmemtest"
)

// TestPool: what a pool says from outside is what it says itself, and who holds what.
func TestPool(t *testing.T) {
	dir := shmemtest.Dir(t)
	p, err := blob.Open("p", &blob.Options{
		Dir: dir, Classes: []blob.Class{{Size: 128, Count: 3}, {Size: 8192, Count: 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var all []*blob.Buffer
	for _, n := range []int{1, 2, 3, 8192} {
		b, err := p.TryTake(n)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		all = append(all, b)
	}
	for i, lease := range []time.Duration{time.Minute, time.Nanosecond} {
		if _, err := all[i].HandOver(lease); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(5 * time.Millisecond)
	o, err := inspect.Open(dir, "p")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	st, err := o.PoolStats()
	if err != nil || st == nil {
		t.Fatal(st, err)
	}
	own := p.Stats()
	for i, c := range st.Classes {
		is := own.Classes[i]
		if c.Size != is.Size || c.Count != is.Count || c.Used != is.Used || c.Taken != is.Taken {
			t.Errorf("%+v, want %+v", c, is)
		}
	}
	if st.InFlight != 2 || st.Late != 1 || st.Shares != 8 || len(st.Holders) != 1 {
		t.Fatalf("%+v", st)
	}
	h := st.Holders[0]
	if h.PID != os.Getpid() || !h.Alive || h.Buffers != 2 || h.Bytes != 128+8192 {
		t.Errorf("%+v", h)
	}
}
