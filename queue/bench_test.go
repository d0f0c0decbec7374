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
	b.Run("bytes", func(b *testing.B) {
		for _, single := range []bool{true, false} {
			b.Run(fmt.Sprintf("single=%v", single), func(b *testing.B) {
				q := openBytes(b, shmemtest.Dir(b), func(o *queue.BytesOptions) {
					o.Single, o.Capacity = single, 256
				})
				msg, buf := make([]byte, 64), make([]byte, 0, 64)
				for i := 0; i < b.N; i += 256 {
					for range 256 {
						if err := q.Send(background, msg); err != nil {
							b.Fatal(err)
						}
					}
					for range 256 {
						if _, err := q.Recv(background, buf[:0]); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	})
}
