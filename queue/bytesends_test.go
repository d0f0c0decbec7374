package queue_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// numbered returns message n: its length and its bytes follow from n.
func numbered(n, most int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	b := make([]byte, r.IntN(most+1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestBytesBatches sends messages of many lengths in batches and singly, through a ring that is
// much smaller, and receives them in batches and singly, in order.
func TestBytesBatches(t *testing.T) {
	const messages, most = 3000, 120
	forms(t, func(t *testing.T, single bool) {
		q := openBytes(t, shmemtest.Dir(t), shapedBytes(single, 8))
		s, err := q.Sender()
		check(t, err)
		r, err := q.Receiver()
		check(t, err)
		go func() {
			defer q.End()
			random := rand.New(rand.NewPCG(1, 2))
			for n := 0; n < messages; {
				batch := make([][]byte, 1+random.IntN(20))
				for i := range batch {
					batch[i] = numbered(n+i, most)
				}
				if len(batch) == 1 {
					err = s.Send(background, batch[0])
				} else {
					_, err = s.SendBatch(background, batch)
				}
				if err != nil {
					t.Errorf("message %d: %v", n, err)
					return
				}
				n += len(batch)
			}
		}()
		bufs := make([][]byte, 7)
		n := 0
		for {
			k, err := r.RecvBatch(background, bufs[:1+n%len(bufs)])
			if err == io.EOF {
				break
			}
			check(t, err)
			for i := range k {
				if !bytes.Equal(bufs[i], numbered(n, most)) {
					t.Fatalf("message %d is %d bytes, %x", n, len(bufs[i]), bufs[i])
				}
				n++
			}
		}
		if n < messages {
			t.Errorf("received %d messages of %d", n, messages)
		}
	})
}

// TestBatchBeforeError: what SendBatch counts is sent, also if a later message cannot be.
func TestBatchBeforeError(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		q := openBytes(t, shmemtest.Dir(t), shapedBytes(single, 8))
		n, err := q.SendBatch(background, [][]byte{{1}, {2, 2}, make([]byte, q.MaxLen()+1), {3}})
		want(t, err, queue.ErrTooBig)
		bufs := make([][]byte, 4)
		got, err := q.RecvBatch(background, bufs)
		check(t, err)
		if n != 2 || got != 2 || len(bufs[1]) != 2 {
			t.Errorf("%d sent, %q received", n, bufs[:got])
		}
	})
}
