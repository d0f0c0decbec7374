package queue_test

import (
	"testing"

	"github.com/shmembox/shmem/shmemtest"
)

// TestDeliveriesAfterManyLaps: a message that comes to a slot 2^18 rounds after one that was
// redelivered is delivered for the first time.
func TestDeliveriesAfterManyLaps(t *testing.T) {
	const laps = 1 << 18
	dir := shmemtest.Dir(t)
	q := open[int](t, dir, shaped(false, 1))
	b := openBytes(t, dir, shapedBytes(false, 1))
	deliveries(t, 4, func() error { return q.Send(background, 1) },
		func() (borrowed, error) { return q.TryTake() })
	deliveries(t, 4, func() error { return b.Send(background, nil) },
		func() (borrowed, error) { return b.TryTake() })
	for range laps - 1 {
		check(t, q.Send(background, 1))
		_, err := q.Recv(background)
		check(t, err)
		check(t, b.Send(background, nil))
		_, err = b.Recv(background, nil)
		check(t, err)
	}
	deliveries(t, 2, func() error { return q.Send(background, 1) },
		func() (borrowed, error) { return q.TryTake() })
	deliveries(t, 2, func() error { return b.Send(background, nil) },
		func() (borrowed, error) { return b.TryTake() })
}

// deliveries sends a message, and takes it n times.
func deliveries(t *testing.T, n int, send func() error, take func() (borrowed, error)) {
	t.Helper()
	check(t, send())
	for i := range n {
		l, err := take()
		check(t, err)
		if l.Deliveries() != i+1 {
			t.Fatalf("delivery %d is number %d", i+1, l.Deliveries())
		}
		if i < n-1 {
			check(t, l.Back(0))
		} else {
			check(t, l.Done())
		}
	}
}
