//go:build !race

package queue_test

import (
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// TestFailuresAllocateNothing checks that the errors of calls that do not block are made once.
func TestFailuresAllocateNothing(t *testing.T) {
	none := func(what string, cause error, f func() error) {
		t.Helper()
		want(t, f(), cause)
		if n := testing.AllocsPerRun(100, func() { _ = f() }); n != 0 {
			t.Errorf("%s: %v allocations for %v", what, n, cause)
		}
	}
	forms(t, func(t *testing.T, single bool) {
		dir := shmemtest.Dir(t)
		q := open[int](t, dir, shaped(single, 2))
		b := openBytes(t, dir, shapedBytes(single, 2))
		message := make([]byte, 8)
		recv := func() error { _, err := q.TryRecv(); return err }
		recvBytes := func() error { _, err := b.TryRecv(nil); return err }
		none("TryRecv", queue.ErrEmpty, recv)
		none("Bytes.TryRecv", queue.ErrEmpty, recvBytes)
		for q.TrySend(1) == nil {
		}
		for b.TrySend(message) == nil {
		}
		none("TrySend", queue.ErrFull, func() error { return q.TrySend(1) })
		none("Bytes.TrySend", queue.ErrFull, func() error { return b.TrySend(message) })
		if single {
			other := open[int](t, dir, nil)
			none("TrySend", queue.ErrTaken, func() error { return other.TrySend(1) })
		}
		check(t, q.End())
		check(t, b.End())
		none("TrySend", queue.ErrEnded, func() error { return q.TrySend(1) })
		none("Bytes.TrySend", queue.ErrEnded, func() error { return b.TrySend(message) })
		check(t, q.Close())
		check(t, b.Close())
		none("TrySend", shmem.ErrClosed, func() error { return q.TrySend(1) })
		none("TryRecv", shmem.ErrClosed, recv)
		none("Bytes.TrySend", shmem.ErrClosed, func() error { return b.TrySend(message) })
		none("Bytes.TryRecv", shmem.ErrClosed, recvBytes)
	})
	forms(t, func(t *testing.T, single bool) {
		q := open[int](t, shmemtest.Dir(t), shaped(single, 2))
		s, err := q.Sender()
		check(t, err)
		r, err := q.Receiver()
		check(t, err)
		recv := func() error { _, err := r.TryRecv(); return err }
		none("Receiver.TryRecv", queue.ErrEmpty, recv)
		for s.TrySend(1) == nil {
		}
		none("Sender.TrySend", queue.ErrFull, func() error { return s.TrySend(1) })
		check(t, s.Close())
		check(t, r.Close())
		none("Sender.TrySend", shmem.ErrClosed, func() error { return s.TrySend(1) })
		none("Receiver.TryRecv", shmem.ErrClosed, recv)
	})
}
