package queue

import (
	"errors"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// TestDeadQueueMadeMeanwhile: a dead-letter queue that another process creates with other options,
// while this one is about to create it, is attached to. One of other messages is refused.
func TestDeadQueueMadeMeanwhile(t *testing.T) {
	for _, other := range []bool{false, true} {
		o := Options{Dir: shmemtest.Dir(t), Lifetime: shmem.Owned, Capacity: 3}
		there := Options{Dir: o.Dir}
		first := true
		q, err := openDead(
			func() (*Queue[int], error) {
				q, err := Attach[int]("dead", &there)
				if first {
					first = false
					makeDead(t, other, &o)
				}
				return q, err
			}, func() (*Queue[int], error) {
				return Open[int]("dead", &Options{Dir: o.Dir, Capacity: 5, Stamped: true})
			})
		if other {
			if !errors.Is(err, shmem.ErrMismatch) {
				t.Error(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if q.Cap() != 3 {
			t.Errorf("capacity %d, want 3", q.Cap())
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}
}

// makeDead creates a dead-letter queue, of other messages than those of the test if other is set.
func makeDead(t *testing.T, other bool, o *Options) {
	t.Helper()
	var q interface{ Close() error }
	var err error
	if other {
		q, err = Create[[3]int8]("dead", o)
	} else {
		q, err = Create[int]("dead", o)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
}
