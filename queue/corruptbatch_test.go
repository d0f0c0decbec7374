package queue

import (
	"errors"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/shmemtest"
)

// TestCorruptInBatch: a batch ends before a message whose extent is corrupt. The messages before it
// are received, the next call returns the error, and later ones the messages behind it.
func TestCorruptInBatch(t *testing.T) {
	q, err := CreateBytes("q", &BytesOptions{
		Dir: shmemtest.Dir(t), Lifetime: shmem.Owned, Capacity: 4, Bytes: 64, Stamped: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, s := range []string{"one", "two", "three"} {
		if err := q.TrySend([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := layout.NewBytes(4, 64, false)
	if err == nil {
		l, err = l.WithStamps()
	}
	if err != nil {
		t.Fatal(err)
	}
	extents, err := mem.SliceAt[ring.Extent](q.form.attached().M, l.Extents, 4)
	if err != nil {
		t.Fatal(err)
	}
	extents[1].Size.Store(1 << 40)
	r, err := q.Receiver()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "", "three"} {
		bufs := make([][]byte, 3)
		n, err := r.RecvBatch(t.Context(), bufs)
		if want == "" {
			if n != 0 || !errors.Is(err, shmem.ErrCorrupt) {
				t.Errorf("%d messages, %v; want ErrCorrupt", n, err)
			}
		} else if n != 1 || err != nil || string(bufs[0]) != want || r.Time().IsZero() {
			t.Errorf("%d messages, %q, %v; want %s", n, bufs[0], err, want)
		}
	}
}
