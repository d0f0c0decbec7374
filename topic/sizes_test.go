package topic_test

import (
	"context"
	"math"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// TestSizes: what can be opened carries messages, from one byte to 16 MiB, and keeps from one to
// 2^23 of them.
func TestSizes(t *testing.T) {
	for _, n := range []int{1, 2, 3, 1 << 10, 1<<16 + 1} {
		sized[byte](t, n)
		sized[[13]byte](t, n)
	}
	sized[byte](t, 1<<23)
	sized[[4097]byte](t, 5)
	sized[[16 << 20]byte](t, 1)
	sized[[16 << 20]byte](t, 2)
	for _, o := range []*topic.Options{
		{Reserve: math.MaxInt}, {Reserve: math.MaxInt/4 + 1}, {Capacity: -1}, {Holds: -1}, {Holds: 1<<16 + 1},
	} {
		o.Dir = shmemtest.Dir(t)
		_, err := topic.Open[[3]byte]("s", o)
		want(t, err, shmem.ErrBadOption)
	}
}

func sized[T any](t *testing.T, keep int) {
	t.Helper()
	tp, err := topic.Create[T]("s", &topic.Options{
		Dir: shmemtest.Dir(t), Capacity: keep, Holds: 1, Populate: -1})
	check(t, err)
	s := subscribe(t, tp, topic.Now)
	canceled, cancel := context.WithCancel(background)
	cancel()
	rounds := min(keep, 20)
	for round := range 3 {
		for i := range rounds {
			check(t, tp.PublishFunc(background, func(v *T) error {
				b := mem.Bytes(v)
				b[0], b[len(b)-1] = byte(round), byte(i)
				return nil
			}))
		}
		if rounds == keep {
			want(t, tp.PublishFunc(canceled, func(*T) error { return nil }), context.Canceled)
		}
		for i := range rounds {
			check(t, s.RecvFunc(background, func(v *T) error {
				b := mem.Bytes(v)
				if b[len(b)-1] != byte(i) || len(b) > 1 && b[0] != byte(round) {
					t.Errorf("%d bytes, %d kept: message %d is not what was published", len(b), keep, i)
				}
				return nil
			}))
		}
	}
	if tp.Cap() != keep {
		t.Errorf("keeps %d, want %d", tp.Cap(), keep)
	}
	check(t, s.Close())
	check(t, tp.Close())
}
