//go:build !race

package queue_test

import (
	"testing"

	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// TestNoAllocations checks every call that moves a message. Each case receives what it sends.
func TestNoAllocations(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		dir := shmemtest.Dir(t)
		q := open[[64]byte](t, dir, shaped(single, 8))
		b := openBytes(t, dir, shapedBytes(single, 8))
		var v [64]byte
		batch, msg, buf := make([][64]byte, 4), make([]byte, 48), make([]byte, 0, 64)
		see := func(*[64]byte) error { return nil }
		look := func([]byte) error { return nil }
		got := func(_ []byte, err error) { check(t, err) }
		for _, c := range []struct {
			name string
			f    func()
		}{
			{"TrySend, TryRecv", func() { check(t, q.TrySend(v)); _, err := q.TryRecv(); check(t, err) }},
			{"Send, Recv", func() { check(t, q.Send(background, v)); _, err := q.Recv(background); check(t, err) }},
			{"SendFunc, RecvFunc", func() { check(t, q.SendFunc(background, see)); check(t, q.RecvFunc(background, see)) }},
			{"SendBatch, RecvBatch", func() {
				_, err := q.SendBatch(background, batch)
				check(t, err)
				for n := 0; n < len(batch); {
					k, err := q.RecvBatch(background, batch[n:])
					check(t, err)
					n += k
				}
			}},
			{"TryRecv of nothing", func() { _, err := q.TryRecv(); want(t, err, queue.ErrEmpty) }},
			{"Len, Cap, Stats", func() { _, _ = q.Len(), q.Cap(); _, err := q.Stats(); check(t, err) }},
			{"Bytes: TrySend, TryRecv", func() { check(t, b.TrySend(msg)); got(b.TryRecv(buf)) }},
			{"Bytes: Send, Recv", func() { check(t, b.Send(background, msg)); got(b.Recv(background, buf)) }},
			{"Bytes: SendFunc, RecvFunc", func() { check(t, b.SendFunc(background, 48, look)); check(t, b.RecvFunc(background, look)) }},
			{"Bytes: Write", func() { _, err := b.Write(msg); check(t, err); got(b.TryRecv(buf)) }},
			{"Bytes: TryRecv of nothing", func() { _, err := b.TryRecv(buf); want(t, err, queue.ErrEmpty) }},
		} {
			if n := testing.AllocsPerRun(100, c.f); n != 0 {
				t.Errorf("%s: %v allocations", c.name, n)
			}
		}
	})
	forms(t, func(t *testing.T, single bool) { // by a handle for each end
		q := open[[64]byte](t, shmemtest.Dir(t), shaped(single, 8))
		s, err := q.Sender()
		check(t, err)
		r, err := q.Receiver()
		check(t, err)
		var v [64]byte
		batch := make([][64]byte, 4)
		see := func(*[64]byte) error { return nil }
		for _, c := range []struct {
			name string
			f    func()
		}{
			{"TrySend, TryRecv", func() { check(t, s.TrySend(v)); _, err := r.TryRecv(); check(t, err) }},
			{"Send, Recv", func() { check(t, s.Send(background, v)); _, err := r.Recv(background); check(t, err) }},
			{"SendFunc, RecvFunc", func() { check(t, s.SendFunc(background, see)); check(t, r.RecvFunc(background, see)) }},
			{"SendBatch, RecvBatch", func() {
				_, err := s.SendBatch(background, batch)
				check(t, err)
				for n := 0; n < len(batch); {
					k, err := r.RecvBatch(background, batch[n:])
					check(t, err)
					n += k
				}
			}},
			{"TryRecv of nothing", func() { _, err := r.TryRecv(); want(t, err, queue.ErrEmpty) }},
		} {
			if n := testing.AllocsPerRun(100, c.f); n != 0 {
				t.Errorf("Sender, Receiver: %s: %v allocations", c.name, n)
			}
		}
	})
}
