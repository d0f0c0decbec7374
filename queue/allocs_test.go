//go:build !race

package queue_test

import (
	"context"
	"io"
	"testing"

	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// An alloc is a call that allocates nothing, or several.
type alloc struct {
	name string
	f    func()
}

func allocateNothing(t *testing.T, calls []alloc) {
	t.Helper()
	for _, c := range calls {
		if n := testing.AllocsPerRun(100, c.f); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

// ends are the methods that a queue has in common with a Sender and a Receiver.
type ends struct {
	send      func(context.Context, [64]byte) error
	trySend   func([64]byte) error
	sendFunc  func(context.Context, func(*[64]byte) error) error
	sendBatch func(context.Context, [][64]byte) (int, error)
	recv      func(context.Context) ([64]byte, error)
	tryRecv   func() ([64]byte, error)
	recvFunc  func(context.Context, func(*[64]byte) error) error
	recvBatch func(context.Context, [][64]byte) (int, error)
}

// calls returns every call that moves a message. Each receives what it sends.
func (e ends) calls(t *testing.T) []alloc {
	var v [64]byte
	batch := make([][64]byte, 4)
	see := func(*[64]byte) error { return nil }
	got := func(_ [64]byte, err error) { check(t, err) }
	return []alloc{
		{"TrySend, TryRecv", func() { check(t, e.trySend(v)); got(e.tryRecv()) }},
		{"Send, Recv", func() { check(t, e.send(background, v)); got(e.recv(background)) }},
		{"SendFunc, RecvFunc", func() {
			check(t, e.sendFunc(background, see))
			check(t, e.recvFunc(background, see))
		}},
		{"SendBatch, RecvBatch", func() {
			_, err := e.sendBatch(background, batch)
			check(t, err)
			for n := 0; n < len(batch); {
				k, err := e.recvBatch(background, batch[n:])
				check(t, err)
				n += k
			}
		}},
		{"TryRecv of nothing", func() { _, err := e.tryRecv(); want(t, err, queue.ErrEmpty) }},
	}
}

// TestNoAllocations checks every call that moves a message, by the queue and by handles.
func TestNoAllocations(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		q := open[[64]byte](t, shmemtest.Dir(t), shaped(single, 8))
		e := ends{
			q.Send, q.TrySend, q.SendFunc, q.SendBatch,
			q.Recv, q.TryRecv, q.RecvFunc, q.RecvBatch,
		}
		allocateNothing(t, append(e.calls(t), alloc{"Len, Cap, Stats", func() {
			_, _ = q.Len(), q.Cap()
			_, err := q.Stats()
			check(t, err)
		}}))
	})
	forms(t, func(t *testing.T, single bool) {
		q := open[[64]byte](t, shmemtest.Dir(t), shaped(single, 8))
		s, err := q.Sender()
		check(t, err)
		r, err := q.Receiver()
		check(t, err)
		allocateNothing(t, ends{
			s.Send, s.TrySend, s.SendFunc, s.SendBatch,
			r.Recv, r.TryRecv, r.RecvFunc, r.RecvBatch,
		}.calls(t))
	})
}

// byteCalls returns every call that moves a message of bytes. Each receives what it sends.
func byteCalls(t *testing.T, s byteSends, r byteReceives) []alloc {
	msg, buf := make([]byte, 48), make([]byte, 0, 64)
	batch, bufs := [][]byte{msg, msg[:1], msg[:47]}, make([][]byte, 3)
	look := func([]byte) error { return nil }
	got := func(_ []byte, err error) { check(t, err) }
	return []alloc{
		{"TrySend, TryRecv", func() { check(t, s.TrySend(msg)); got(r.TryRecv(buf)) }},
		{"Send, Recv", func() {
			check(t, s.Send(background, msg))
			got(r.Recv(background, buf))
		}},
		{"SendFunc, RecvFunc", func() {
			check(t, s.SendFunc(background, 48, look))
			check(t, r.RecvFunc(background, look))
		}},
		{"SendBatch, RecvBatch", func() {
			_, err := s.SendBatch(background, batch)
			check(t, err)
			for n := 0; n < len(batch); {
				k, err := r.RecvBatch(background, bufs[n:])
				check(t, err)
				n += k
			}
		}},
		{"TryRecv of nothing", func() {
			_, err := r.TryRecv(buf)
			want(t, err, queue.ErrEmpty)
		}},
	}
}

// TestNoAllocationsOfBytes is TestNoAllocations for a Bytes.
func TestNoAllocationsOfBytes(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		b := openBytes(t, shmemtest.Dir(t), shapedBytes(single, 8))
		allocateNothing(t, append(byteCalls(t, b, b),
			alloc{"Write", func() {
				_, err := b.Write(make([]byte, 8))
				check(t, err)
				check(t, b.RecvFunc(background, func([]byte) error { return nil }))
			}},
			alloc{"Len, Cap, Stats", func() {
				_, _ = b.Len(), b.Cap()
				_, err := b.Stats()
				check(t, err)
			}}))
	})
	forms(t, func(t *testing.T, single bool) {
		b := openBytes(t, shmemtest.Dir(t), shapedBytes(single, 8))
		s, err := b.Sender()
		check(t, err)
		r, err := b.Receiver()
		check(t, err)
		allocateNothing(t, byteCalls(t, s, r))
	})
	forms(t, func(t *testing.T, single bool) {
		b := openBytes(t, shmemtest.Dir(t), shapedBytes(single, 8))
		w, err := b.Writer(background)
		check(t, err)
		r, err := b.Reader(background)
		check(t, err)
		msg, buf := make([]byte, 100), make([]byte, 30)
		allocateNothing(t, []alloc{{"Write, Read", func() {
			_, err := w.Write(msg)
			check(t, err)
			_, err = io.ReadFull(r, msg[:50])
			check(t, err)
			_, err = io.ReadFull(r, buf[:25])
			check(t, err)
			_, err = io.ReadFull(r, buf[:25])
			check(t, err)
		}}})
	})
}
