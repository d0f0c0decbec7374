package queue

import (
	"context"
	"io"
	"iter"
	"slices"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/stream"
)

// A Bytes is an attachment to a bounded queue of messages of any length. Its methods are safe for
// concurrent use.
//
// The queue is full when BytesOptions.Capacity messages are in it, or when their bytes fill
// BytesOptions.Bytes. Each message is rounded up to 8 bytes. It lies in one piece, so bytes at the
// end of the ring stay empty where the next message does not fit. A Single queue is bounded by
// bytes alone, and each message takes 8 bytes more.
type Bytes struct {
	form byteForm
	dead *deadBytes // nil: none
}

var _ io.Writer = (*Bytes)(nil)

// Send sends a copy of p, and blocks while there is no room. When it returns nil the message is in
// the queue, whatever happens to this process; after an error it is not, except after ErrCorrupt.
//
// The errors are ErrTooBig, the context's, ErrEnded after End, ErrUnlinked, ErrTaken in a Single
// queue that has another sender, ErrClosed, ErrReadOnly and ErrCorrupt. A receiver that dies
// holding a message is found after at most 100 ms, when senders have come round to its bytes.
func (q *Bytes) Send(ctx context.Context, p []byte) error {
	s, err := q.form.sender(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	return q.send(ctx, s, p, 0)
}

// TrySend is Send that returns ErrFull where Send would block.
func (q *Bytes) TrySend(p []byte) error { return q.Send(stream.Try{}, p) }

// Write sends a copy of p as one message, and blocks while there is no room. It makes the queue an
// io.Writer.
func (q *Bytes) Write(p []byte) (int, error) {
	if err := q.Send(context.Background(), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SendFunc sends a message of n bytes that f writes in place, without a copy. n is 0 to MaxLen, or
// the error is ErrTooBig. The bytes that f finds are not cleared. If f fails or panics nothing is
// sent. Other messages can be sent meanwhile, but receivers get them after this one; in a Single
// queue f must not send. The slice must not be used after f. The errors are f's, as it is, and
// those of Send.
func (q *Bytes) SendFunc(ctx context.Context, n int, f func([]byte) error) error {
	s, err := q.form.sender(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	return q.sendFunc(ctx, s, n, f)
}

// SendBatch sends a copy of each of ps as a message, in order, and blocks while there is no room.
// It looks at ctx before each but the first. It returns how many are sent: all of them, or an
// error, one of those of Send. Messages of other senders may come in between. If ps is empty it
// sends nothing and does not wait.
func (q *Bytes) SendBatch(ctx context.Context, ps [][]byte) (int, error) {
	s, err := q.form.sender(ctx)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	return q.sendBatch(ctx, s, ps)
}

// Recv receives the oldest message, and blocks until there is one. It appends the message to buf,
// which may be nil, and returns the result; after an error that is buf. The errors are io.EOF when
// the stream has ended (End) and no message is left, ErrUnlinked likewise, the context's, ErrTaken
// in a Single queue that has another receiver, ErrClosed, ErrReadOnly and ErrCorrupt.
//
// A sender that dies in the middle of its message is found after at most 100 ms; Recv skips its
// slot then.
func (q *Bytes) Recv(ctx context.Context, buf []byte) ([]byte, error) {
	r, err := q.form.receiver(ctx)
	if err != nil {
		return buf, err
	}
	defer r.leave()
	return q.recv(ctx, r, buf)
}

// TryRecv is Recv that returns ErrEmpty where Recv would block.
func (q *Bytes) TryRecv(buf []byte) ([]byte, error) { return q.Recv(stream.Try{}, buf) }

// RecvFunc receives a message that f reads in place, without a copy: it has the message on a lease.
// If f fails or panics, or if the process dies in it, the message is redelivered. The slice must
// not be used after f.
//
// Other messages can be received meanwhile, but room is used again in order: senders block when
// they come round to this message. In a Single queue f must not receive. The errors are f's, as it
// is, and those of Recv.
func (q *Bytes) RecvFunc(ctx context.Context, f func([]byte) error) error {
	r, err := q.form.receiver(ctx)
	if err != nil {
		return err
	}
	defer r.leave()
	return q.recvFunc(ctx, r, f)
}

// RecvBatch receives up to len(bufs) messages in order, and blocks until there is one. It stores
// message i in bufs[i], whose old contents it replaces and whose capacity it uses, and returns how
// many there are: at least one, or an error, one of those of Recv. If a lease was lost meanwhile
// (ErrLeaseLost) it returns the messages before that one. If bufs is empty it receives nothing and
// does not wait.
func (q *Bytes) RecvBatch(ctx context.Context, bufs [][]byte) (int, error) {
	r, err := q.form.receiver(ctx)
	if err != nil {
		return 0, err
	}
	defer r.leave()
	return q.recvBatch(ctx, r, bufs)
}

// Take receives the oldest message on a lease that outlives the call. See Queue.Take.
func (q *Bytes) Take(ctx context.Context) (*BytesLease, error) {
	r, err := q.form.receiver(ctx)
	if err != nil {
		return nil, err
	}
	defer r.leave()
	return q.lend(ctx, r)
}

// TryTake is Take that returns ErrEmpty where Take would block.
func (q *Bytes) TryTake() (*BytesLease, error) { return q.Take(stream.Try{}) }

// Wait waits until Recv has a message or io.EOF to return. See Queue.Wait.
func (q *Bytes) Wait(ctx context.Context) error {
	r, err := q.form.receiver(ctx)
	if err != nil {
		return err
	}
	defer r.leave()
	return r.wait(ctx)
}

// All receives copies of messages until the stream ends. It looks at ctx before every message. An
// error is the last that it yields, with a nil message.
func (q *Bytes) All(ctx context.Context) iter.Seq2[[]byte, error] {
	return all(ctx, &q.form.attached().recvErrors, func(ctx context.Context) ([]byte, error) {
		b, err := q.Recv(ctx, nil)
		return slices.Clip(b), err
	})
}

// MaxLen returns the length in bytes of the largest message: BytesOptions.Bytes, or about half of
// it in a Single queue.
func (q *Bytes) MaxLen() int { return q.form.maxLen() }

// Cap returns how many messages there is room for; in a Single queue, how many bytes.
func (q *Bytes) Cap() int { return q.form.capacity() }

// Len returns the number of messages that no receiver has taken yet; in a Single queue, the number
// of bytes that they take. Messages that are being sent count, and slots of canceled ones until a
// receiver comes to them. Stats has the exact depth. After Close it returns 0.
func (q *Bytes) Len() int { return length(q.form) }

// Stats returns the state of the queue. It changes nothing and blocks no other caller, but looks at
// the slot of every message in the queue. It works on a queue attached to read-only. The error is
// ErrClosed.
func (q *Bytes) Stats() (Stats, error) { return statsOf(q.form) }

// End ends the stream for all senders in all processes. Sending calls that wait for room, or begin
// later, return ErrEnded; receiving calls return io.EOF after the last message. A Send that has
// claimed its room when End comes still sends its message and returns nil, and receivers wait for
// that message before they return io.EOF.
//
// In a Single queue receivers do not wait for it: they may return io.EOF, and the message from a
// later call. There the sender should call End, after its last Send. Any attachment that can write
// may call End, at any time and more than once. The errors are ErrReadOnly and ErrClosed.
// After the name was taken End changes nothing: calls return ErrUnlinked.
func (q *Bytes) End() error { return end(q.form) }

// Single reports whether the queue was created with BytesOptions.Single.
func (q *Bytes) Single() bool { return q.form.isSingle() }

// Name returns the name of the queue's segment.
func (q *Bytes) Name() string { return q.Segment().Name() }

// Linked reports whether the name still leads to this queue. See shmem.Segment.Linked.
func (q *Bytes) Linked() bool { return q.Segment().Linked() }

// Unlinked returns a channel that is closed when the name no longer leads to this queue. See
// shmem.Segment.Unlinked.
func (q *Bytes) Unlinked() <-chan struct{} { return q.Segment().Unlinked() }

// Owned reports whether this attachment owns the queue.
func (q *Bytes) Owned() bool { return q.Segment().Owned() }

// Own makes this attachment the owner of the queue. See shmem.Segment.Own.
func (q *Bytes) Own() error { return q.Segment().Own() }

// Segment returns the queue's segment, for what has no method here. Closing either closes both.
func (q *Bytes) Segment() *shmem.Segment { return q.form.attached().Segment }

// Close ends the attachment, and the queue if this attachment owns it. See shmem.Segment.Close.
// Calls that block return ErrClosed. Close waits for the functions of SendFunc and RecvFunc that
// run, so they must not call it. Messages stay for the other attachments. A second Close returns
// nil.
func (q *Bytes) Close() error { return q.Segment().Close() }

// Leak ends the attachment and leaves the queue without an owner. See shmem.Segment.Leak.
func (q *Bytes) Leak() error { return q.Segment().Leak() }

// The methods below move messages, as those of Queue.

// send sends with a stamp, 0 for that of now.
func (q *Bytes) send(ctx context.Context, s byteSender, p []byte, sent int64) error {
	b, pos, err := s.reserve(ctx, len(p))
	if err != nil {
		return err
	}
	mem.Copy(b, p)
	return s.publish(pos, len(p), false, sent)
}

func (q *Bytes) sendFunc(ctx context.Context, s byteSender, n int, f func([]byte) error) error {
	b, pos, err := s.reserve(ctx, n)
	if err != nil {
		return err
	}
	written := false
	defer func() {
		if !written {
			s.cancel(pos)
		}
	}()
	if err := f(b); err != nil {
		return err
	}
	written = true
	return s.publish(pos, n, false, 0)
}

func (q *Bytes) sendBatch(ctx context.Context, s byteSender, ps [][]byte) (n int, err error) {
	defer s.flush() // also after an error: what is counted is sent
	for i, p := range ps {
		if i > 0 {
			if err := stream.Context(ctx); err != nil {
				return i, q.form.attached().sendErrors.Of(err)
			}
		}
		b, pos, err := s.reserve(ctx, len(p))
		if err != nil {
			return i, err
		}
		mem.Copy(b, p)
		if err := s.publish(pos, len(p), i < len(ps)-1, 0); err != nil {
			return i, err
		}
	}
	return len(ps), nil
}

// take takes a message. One that was delivered too often goes to the dead-letter queue.
func (q *Bytes) take(ctx context.Context, end byteReceiver) ([]byte, run, error) {
	for buried := 1; ; buried++ {
		b, r, err := end.take(ctx)
		if err != nil || q.dead == nil || !q.bury(end, b, r) {
			return b, r, err
		}
		forget(end)
		if err := q.form.attached().buried(ctx, buried); err != nil {
			return nil, run{}, err
		}
	}
}

func (q *Bytes) recv(ctx context.Context, end byteReceiver, buf []byte) ([]byte, error) {
	b, r, err := q.take(ctx, end)
	if err != nil {
		return buf, err
	}
	all := appendMessage(buf, b)
	if err := end.release(r); err != nil {
		return buf, err
	}
	return all, nil
}

// appendMessage appends a message, in the queue's memory, to buf.
func appendMessage(buf, b []byte) []byte {
	n := len(buf)
	buf = slices.Grow(buf, len(b))[:n+len(b)]
	mem.Copy(buf[n:], b)
	return buf
}

func (q *Bytes) recvFunc(ctx context.Context, end byteReceiver, f func([]byte) error) error {
	b, r, err := q.take(ctx, end)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			_ = end.redeliver(r, q.form.attached().care.delay)
		}
	}()
	if err := f(b); err != nil {
		return err
	}
	done = true
	return end.release(r)
}

func (q *Bytes) recvBatch(ctx context.Context, end byteReceiver, bufs [][]byte) (n int, err error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	b, r, err := q.take(ctx, end)
	if err != nil {
		return 0, err
	}
	for {
		bufs[n] = appendMessage(bufs[n][:0], b)
		if n+1 == len(bufs) {
			break
		}
		if b, r, err = end.another(r); err != nil {
			return n, err
		}
		if b == nil {
			break
		}
		n++
	}
	if err := end.release(r); err != nil {
		return n, err
	}
	return n + 1, nil
}
