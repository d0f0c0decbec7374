package queue_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// TestSizes: what can be opened carries messages, from one byte to 16 MiB, in rings of one place to
// 2^23. Pages of places that are not used are only reserved.
func TestSizes(t *testing.T) {
	for _, single := range []bool{false, true} {
		for _, n := range []int{1, 2, 3, 7, 1 << 10, 1<<16 + 1, 1 << 23} {
			sized[byte](t, n, single)
		}
		for _, n := range []int{1, 5, 1 << 10} {
			sized[[3]byte](t, n, single)
			sized[[4097]byte](t, n, single)
		}
		sized[[1 << 20]byte](t, 3, single)
		sized[[16 << 20]byte](t, 1, single)
		sized[[16 << 20]byte](t, 2, single)
	}
}

func sized[T any](t *testing.T, places int, single bool) {
	t.Helper()
	name := fmt.Sprintf("%d bytes in %d places, single %v", mem.SizeOf[T](), places, single)
	q, err := queue.Create[T]("s", &queue.Options{
		Dir: shmemtest.Dir(t), Lifetime: shmem.Owned, Capacity: places, Single: single, Populate: -1})
	check(t, err)
	rounds := min(places, 20)
	canceled, cancel := context.WithCancel(background)
	cancel()
	for round := range 3 { // more than once round small rings
		for i := range rounds {
			check(t, q.SendFunc(background, func(v *T) error {
				b := mem.Bytes(v)
				b[0], b[len(b)-1] = byte(round), byte(i)
				return nil
			}))
		}
		if rounds == places {
			want(t, q.SendFunc(canceled, func(*T) error { return nil }), context.Canceled)
		}
		for i := range rounds {
			check(t, q.RecvFunc(background, func(v *T) error {
				b := mem.Bytes(v)
				if b[len(b)-1] != byte(i) || len(b) > 1 && b[0] != byte(round) {
					t.Errorf("%s: message %d is not what was sent", name, i)
				}
				return nil
			}))
		}
	}
	if q.Cap() != places {
		t.Errorf("%s: room for %d", name, q.Cap())
	}
	check(t, q.Close())
}

// TestSizesOfBytes: a queue of bytes that can be opened carries a message of MaxLen bytes, and that
// is at least one.
func TestSizesOfBytes(t *testing.T) {
	for _, single := range []bool{false, true} {
		for _, size := range []int{1, 8, 24, 31, 32, 33, 4096, 1<<20 + 1, 4 << 20} {
			for _, places := range []int{1, 3} {
				q, err := queue.CreateBytes("s", &queue.BytesOptions{
					Dir: shmemtest.Dir(t), Lifetime: shmem.Owned, Bytes: size, Capacity: places,
					Single: single, Populate: -1})
				if single && size <= 24 {
					want(t, err, shmem.ErrBadOption)
					continue
				}
				check(t, err)
				n := q.MaxLen()
				if n < 1 || !single && n != (size+7)&^7 {
					t.Errorf("%d bytes, single %v: a message has at most %d", size, single, n)
				}
				for _, n := range []int{n, 1, 0, n - 1, n} {
					p := bytes.Repeat([]byte{byte(n)}, n)
					check(t, q.Send(background, p))
					if got, err := q.TryRecv(nil); err != nil || !bytes.Equal(got, p) {
						t.Errorf("%d bytes, single %v: a message of %d is %d, %v", size, single, n, len(got), err)
					}
				}
				want(t, q.TrySend(make([]byte, n+1)), queue.ErrTooBig)
				check(t, q.Close())
			}
		}
	}
}

// TestImpossible: what cannot be is refused when it is opened, and says why.
func TestImpossible(t *testing.T) {
	dir := shmemtest.Dir(t)
	for _, o := range []*queue.Options{
		{Capacity: -1}, {Capacity: math.MinInt}, {Reserve: -1}, {Reserve: math.MaxInt},
		{Reserve: math.MaxInt / 2}, {Reserve: math.MaxInt/4 + 1},
	} {
		for _, single := range []bool{false, true} {
			o.Dir, o.Single = dir, single
			_, err := queue.Open[[3]byte]("s", o)
			want(t, err, shmem.ErrBadOption)
		}
	}
	if strconv.IntSize == 64 {
		kib := 1 << 10 // a variable: the sizes are no constants of 32 bits
		gib := kib * kib * kib
		for _, o := range []*queue.Options{{Capacity: math.MaxInt}, {Capacity: 2*gib + 1}} {
			o.Dir = dir
			_, err := queue.Open[int]("s", o)
			want(t, err, shmem.ErrBadOption)
		}
		// More than any machine has, in memory or in addresses.
		for _, o := range []*queue.Options{{Capacity: 2 * gib}, {Reserve: kib * kib * gib}, {Capacity: 2 * gib, Reserve: gib}} {
			o.Dir = dir
			if q, err := queue.Open[[1 << 20]byte]("s", o); err == nil {
				t.Errorf("%+v can be had", o)
				check(t, q.Close())
			}
		}
		_, err := queue.Open[[1 << 20]byte]("s", &queue.Options{Dir: dir, Capacity: 2 * gib, Reserve: kib * gib})
		want(t, err, shmem.ErrBadOption)
	}
	for _, o := range []*queue.BytesOptions{
		{Bytes: -1}, {Bytes: math.MinInt}, {Capacity: -1}, {Bytes: 24, Single: true}, {Bytes: 1, Single: true},
	} {
		o.Dir = dir
		_, err := queue.OpenBytes("s", o)
		want(t, err, shmem.ErrBadOption)
	}
	_, err := queue.Open[struct{}]("s", &queue.Options{Dir: dir})
	want(t, err, shmem.ErrBadType)
	_, err = queue.Open[[0]int]("s", &queue.Options{Dir: dir})
	want(t, err, shmem.ErrBadType)
}
