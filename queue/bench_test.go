package queue_test

import (
	"fmt"
	"testing"

	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// BenchmarkAlone measures sending and receiving without contention: one goroutine fills the queue
// and empties it. See bench/queues for two processes.
func BenchmarkAlone(b *testing.B) {
	for _, single := range []bool{true, false} {
		for _, handles := range []bool{true, false} {
			b.Run(fmt.Sprintf("single=%v/handles=%v", single, handles), func(b *testing.B) {
				q := open[[8]byte](b, shmemtest.Dir(b), shaped(single, 256))
				send, recv := q.Send, q.Recv
				if handles {
					s, err := q.Sender()
					check(b, err)
					r, err := q.Receiver()
					check(b, err)
					send, recv = s.Send, r.Recv
				}
				for i := 0; i < b.N; i += 256 {
					for range 256 {
						if err := send(background, [8]byte{}); err != nil {
							b.Fatal(err)
						}
					}
					for range 256 {
						if _, err := recv(background); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}

// BenchmarkAloneBytes is BenchmarkAlone for a Bytes, with messages that are copied, in place, and
// in batches.
func BenchmarkAloneBytes(b *testing.B) {
	for _, single := range []bool{true, false} {
		for _, handles := range []bool{true, false} {
			q := openBytes(b, shmemtest.Dir(b), func(o *queue.BytesOptions) {
				o.Single, o.Capacity = single, 256
			})
			var s byteSends = q
			var r byteReceives = q
			if handles {
				sender, err := q.Sender()
				check(b, err)
				receiver, err := q.Receiver()
				check(b, err)
				s, r = sender, receiver
			}
			name := fmt.Sprintf("single=%v/handles=%v/", single, handles)
			for _, w := range aloneBytes(s, r) {
				b.Run(name+w.name, func(b *testing.B) {
					for i := 0; i < b.N; i += 128 {
						check(b, w.send())
						check(b, w.recv())
					}
				})
			}
		}
	}
}

// A route sends 128 messages, and receives them.
type route struct {
	name       string
	send, recv func() error
}

func aloneBytes(s byteSends, r byteReceives) []route {
	msg, buf := make([]byte, 64), make([]byte, 0, 64)
	batch, bufs := make([][]byte, 128), make([][]byte, 128)
	for i := range batch {
		batch[i] = msg
	}
	look := func([]byte) error { return nil }
	each := func(f func() error) func() error {
		return func() error {
			for range 128 {
				if err := f(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return []route{
		{"copy",
			each(func() error { return s.Send(background, msg) }),
			each(func() error { _, err := r.Recv(background, buf); return err })},
		{"place",
			each(func() error { return s.SendFunc(background, 4096, look) }),
			each(func() error { return r.RecvFunc(background, look) })},
		{"batch",
			func() error { return second(s.SendBatch(background, batch)) },
			func() error { return second(r.RecvBatch(background, bufs)) }},
	}
}
