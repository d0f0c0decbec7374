package queue_test

import (
	"errors"
	"io"
	"testing"

	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// TestEndDuringSend ends the stream while a Send is between taking its slot and publishing it. The
// message is sent. A receiver that looks meanwhile waits for it in a queue of many senders. In a
// Single queue the receiver gets io.EOF, and the message from a later call.
func TestEndDuringSend(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		dir := shmemtest.Dir(t)
		sender := open[int](t, dir, shaped(single, 4))
		other := open[int](t, dir, shaped(single, 4))
		check(t, sender.Send(background, 1))
		check(t, sender.SendFunc(background, func(v *int) error {
			*v = 2
			check(t, other.End())
			if got, err := other.Recv(background); got != 1 || err != nil {
				t.Errorf("first message: %d, %v", got, err)
			}
			during := queue.ErrEmpty
			if single {
				during = io.EOF
			}
			if _, err := other.TryRecv(); !errors.Is(err, during) {
				t.Errorf("while the second is being sent: %v, want %v", err, during)
			}
			return nil
		}))
		if got, err := other.Recv(background); got != 2 || err != nil {
			t.Errorf("second message: %d, %v", got, err)
		}
		want(t, sender.Send(background, 3), queue.ErrEnded)
		want(t, sender.TrySend(3), queue.ErrEnded)
		if _, err := other.Recv(background); err != io.EOF {
			t.Errorf("after the last message: %v", err)
		}
	})
}
