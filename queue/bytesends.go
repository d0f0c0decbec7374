package queue

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/shmembox/shmem/internal/stream"
)

// A BytesSender is a sending end of a Bytes for one goroutine at a time. It does what the methods
// of the queue do, and is faster. It ends with the queue.
type BytesSender struct {
	q   *Bytes
	end byteSender
	handle
}

// Sender makes a sending end. See Queue.Sender.
func (q *Bytes) Sender() (*BytesSender, error) {
	s := &BytesSender{q: q}
	a := q.form.attached()
	err := s.start(a, &a.sendErrors, func(stop *stream.Stop) (giveUp func(), err error) {
		s.end, giveUp, err = q.form.newSender(stop)
		return giveUp, err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Close gives the end up. See Sender.Close.
func (s *BytesSender) Close() error { return s.close() }

// Send sends a copy of p. See Bytes.Send.
func (s *BytesSender) Send(ctx context.Context, p []byte) error {
	if !s.section.Enter() {
		return s.closed()
	}
	defer s.section.Leave()
	return s.q.send(ctx, s.end, p, 0)
}

// TrySend is Send that returns ErrFull where Send would block.
func (s *BytesSender) TrySend(p []byte) error { return s.Send(stream.Try{}, p) }

// SendFunc sends a message of n bytes that f writes in place. See Bytes.SendFunc. f must not use
// the BytesSender.
func (s *BytesSender) SendFunc(ctx context.Context, n int, f func([]byte) error) error {
	if !s.section.Enter() {
		return s.closed()
	}
	defer s.section.Leave()
	return s.q.sendFunc(ctx, s.end, n, f)
}

// SendBatch sends a copy of each of ps as a message. See Bytes.SendBatch.
func (s *BytesSender) SendBatch(ctx context.Context, ps [][]byte) (int, error) {
	if !s.section.Enter() {
		return 0, s.closed()
	}
	defer s.section.Leave()
	return s.q.sendBatch(s.stop.With(ctx), s.end, ps)
}

// A BytesReceiver is a receiving end of a Bytes for one goroutine at a time. It does what the
// methods of the queue do, and is faster. It ends with the queue.
type BytesReceiver struct {
	q   *Bytes
	end byteReceiver
	handle
}

// Receiver makes a receiving end. See Queue.Receiver.
func (q *Bytes) Receiver() (*BytesReceiver, error) {
	r := &BytesReceiver{q: q}
	a := q.form.attached()
	err := r.start(a, &a.recvErrors, func(stop *stream.Stop) (giveUp func(), err error) {
		r.end, giveUp, err = q.form.newReceiver(stop)
		return giveUp, err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Close gives the end up. See Receiver.Close.
func (r *BytesReceiver) Close() error { return r.close() }

// Recv receives the oldest message and appends it to buf. See Bytes.Recv.
func (r *BytesReceiver) Recv(ctx context.Context, buf []byte) ([]byte, error) {
	if !r.section.Enter() {
		return buf, r.closed()
	}
	defer r.section.Leave()
	return r.q.recv(ctx, r.end, buf)
}

// TryRecv is Recv that returns ErrEmpty where Recv would block.
func (r *BytesReceiver) TryRecv(buf []byte) ([]byte, error) { return r.Recv(stream.Try{}, buf) }

// RecvFunc receives a message that f reads in place. See Bytes.RecvFunc. f must not use the
// BytesReceiver, except for Time.
func (r *BytesReceiver) RecvFunc(ctx context.Context, f func([]byte) error) error {
	if !r.section.Enter() {
		return r.closed()
	}
	defer r.section.Leave()
	return r.q.recvFunc(ctx, r.end, f)
}

// RecvBatch receives up to len(bufs) messages in order. See Bytes.RecvBatch.
func (r *BytesReceiver) RecvBatch(ctx context.Context, bufs [][]byte) (int, error) {
	if !r.section.Enter() {
		return 0, r.closed()
	}
	defer r.section.Leave()
	return r.q.recvBatch(ctx, r.end, bufs)
}

// Take receives the oldest message on a lease that outlives the call. See Queue.Take. The lease may
// be used in any goroutine.
func (r *BytesReceiver) Take(ctx context.Context) (*BytesLease, error) {
	if !r.section.Enter() {
		return nil, r.closed()
	}
	defer r.section.Leave()
	return r.q.lend(ctx, r.end)
}

// TryTake is Take that returns ErrEmpty where Take would block.
func (r *BytesReceiver) TryTake() (*BytesLease, error) { return r.Take(stream.Try{}) }

// Time returns when the message was sent that was received last. See Receiver.Time.
func (r *BytesReceiver) Time() time.Time { return stream.TimeOf(r.end.sent()) }

// Wait waits until Recv has a message or io.EOF to return. See Queue.Wait.
func (r *BytesReceiver) Wait(ctx context.Context) error {
	if !r.section.Enter() {
		return r.closed()
	}
	defer r.section.Leave()
	return r.end.wait(ctx)
}

// All receives copies of messages until the stream ends. See Bytes.All.
func (r *BytesReceiver) All(ctx context.Context) iter.Seq2[[]byte, error] {
	return all(ctx, r.errors, func(ctx context.Context) ([]byte, error) {
		b, err := r.Recv(ctx, nil)
		return slices.Clip(b), err
	})
}
