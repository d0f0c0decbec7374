package queue

import (
	"context"
	"iter"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/wait"
)

// A Queue is an attachment to a bounded queue of values of type T. T must be free of Go pointers,
// as for shmem.Box. Its methods are safe for concurrent use.
type Queue[T any] struct {
	_    [0]*T // a Queue[T] converts to no Queue[U]
	form itemForm

	// form, if it is that one: a fast path needs no interface. See slowly, too.
	many  *manyItems
	cells mem.Table[T]
	// The items, where they stand side by side.
	items []T
	// Behind each of the items is spare room, or there are fields that T does not have. They are
	// zero in what this process sends.
	rest bool

	capacity int
	dead     *deadLetters[T] // nil: none
}

// item returns the item in a slot.
func (q *Queue[T]) item(slot int) *T { return q.cells.At(slot) }

// clearRest writes zero to what is behind the item in a slot.
func (q *Queue[T]) clearRest(slot int) {
	if q.rest {
		clear(q.cells.Rest(slot))
	}
}

// put writes the item in a slot that this process has claimed. It is not inlined, for the sake of
// the fast paths beside its calls.
//
//go:noinline
func (q *Queue[T]) put(slot int, v *T) {
	mem.Assign(q.item(slot), v)
	q.clearRest(slot)
}

// Send sends a copy of v, and blocks while there is no room. When it returns nil the message is in
// the queue, whatever happens to this process; after an error it is not, except after ErrCorrupt.
//
// The errors are the context's, ErrEnded after End, ErrUnlinked, ErrTaken in a Single queue that
// has another sender, ErrClosed, ErrReadOnly and ErrCorrupt. A receiver that dies holding a message
// is found after at most 100 ms, when senders have come round to its slot. Calls that wait have no
// place in a line: beside TrySend in a loop Send can wait for longer than its turn.
func (q *Queue[T]) Send(ctx context.Context, v T) error {
	s, err := q.form.sender(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	if q.many != nil {
		if done, err := q.sendQuickly(&v); done {
			return err
		}
	}
	return q.send(ctx, s, &v)
}

// TrySend is Send that returns ErrFull where Send would block.
func (q *Queue[T]) TrySend(v T) error {
	s, err := q.form.sender(stream.Try{})
	if err != nil {
		return err
	}
	defer s.leave()
	if q.many != nil {
		if done, err := q.sendQuickly(&v); done {
			return err
		}
	}
	return q.send(stream.Try{}, s, &v)
}

// SendFunc sends a message that f writes in place, without a copy. f finds an older message there.
// If f fails or panics nothing is sent, and the slot is used again when senders come round to it.
// Other messages can be sent meanwhile, but receivers get them after this one; in a Single queue f
// must not send. The pointer must not be used after f. The errors are f's, as it is, and those of
// Send.
func (q *Queue[T]) SendFunc(ctx context.Context, f func(*T) error) error {
	s, err := q.form.sender(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	return q.sendFunc(ctx, s, 0, f)
}

// SendBatch sends all of vs in order, and blocks while there is no room. It sends as many at once
// as there is room for, and looks at ctx in between. It returns how many are sent: all of them, or
// an error, one of those of Send. Messages of other senders may come in between. If vs is empty it
// sends nothing and does not wait.
func (q *Queue[T]) SendBatch(ctx context.Context, vs []T) (int, error) {
	s, err := q.form.sender(ctx)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	return q.sendBatch(ctx, s, vs)
}

// Recv receives the oldest message, and blocks until there is one. The errors are io.EOF when the
// stream has ended (End) and no message is left, ErrUnlinked likewise, the context's, ErrTaken in a
// Single queue that has another receiver, ErrClosed, ErrReadOnly and ErrCorrupt.
//
// A sender that dies in the middle of its message is found after at most 100 ms; Recv skips its
// slot then.
func (q *Queue[T]) Recv(ctx context.Context) (v T, err error) {
	r, err := q.form.receiver(ctx)
	if err != nil {
		return v, err
	}
	defer r.leave()
	if q.many != nil {
		if done, err := q.recvQuickly(&v); done {
			return v, err
		}
	}
	err = q.recv(ctx, r, &v)
	return v, err
}

// TryRecv is Recv that returns ErrEmpty where Recv would block.
func (q *Queue[T]) TryRecv() (v T, err error) {
	r, err := q.form.receiver(stream.Try{})
	if err != nil {
		return v, err
	}
	defer r.leave()
	if q.many != nil {
		if done, err := q.recvQuickly(&v); done {
			return v, err
		}
	}
	err = q.recv(stream.Try{}, r, &v)
	return v, err
}

// RecvFunc receives a message that f reads in place, without a copy: it has the message on a lease.
// If f fails or panics, or if the process dies in it, the message is redelivered. The pointer must
// not be used after f.
//
// Other messages can be received meanwhile, but slots are used again in order: senders block when
// they come round to this one. In a Single queue f must not receive. The errors are f's, as it is,
// and those of Recv.
func (q *Queue[T]) RecvFunc(ctx context.Context, f func(*T) error) error {
	r, err := q.form.receiver(ctx)
	if err != nil {
		return err
	}
	defer r.leave()
	return q.recvFunc(ctx, r, f)
}

// RecvBatch receives up to len(vs) messages in order, and blocks until there is one. It returns how
// many they are: at least one, or an error, one of those of Recv. If vs is empty it receives
// nothing and does not wait.
func (q *Queue[T]) RecvBatch(ctx context.Context, vs []T) (int, error) {
	r, err := q.form.receiver(ctx)
	if err != nil {
		return 0, err
	}
	defer r.leave()
	return q.recvBatch(ctx, r, vs)
}

// Take receives the oldest message on a lease that outlives the call: the message stays in its
// slot, and is consumed by [Lease.Done]. Other messages can be received meanwhile, but slots are
// used again in order: senders block when they come round to this one. The errors are those of
// Recv, and shmem.ErrBadOption in a Single queue, which has no such leases.
//
// If this process dies, or closes the queue, the message is redelivered.
func (q *Queue[T]) Take(ctx context.Context) (*Lease[T], error) {
	r, err := q.form.receiver(ctx)
	if err != nil {
		return nil, err
	}
	defer r.leave()
	return q.lend(ctx, r)
}

// TryTake is Take that returns ErrEmpty where Take would block.
func (q *Queue[T]) TryTake() (*Lease[T], error) { return q.Take(stream.Try{}) }

// Wait waits until Recv has a message or io.EOF to return, and receives nothing; another receiver
// may be faster. It makes the queue a shmem.Waitable. The errors are those of Recv, without io.EOF.
func (q *Queue[T]) Wait(ctx context.Context) error {
	r, err := q.form.receiver(ctx)
	if err != nil {
		return err
	}
	defer r.leave()
	return r.wait(ctx)
}

// All receives messages until the stream ends. It looks at ctx before every message. An error is
// the last that it yields, with the zero value of T.
func (q *Queue[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return all(ctx, &q.form.attached().recvErrors, q.Recv)
}

// Cap returns how many messages there is room for.
func (q *Queue[T]) Cap() int { return q.capacity }

// Len returns the number of messages that no receiver has taken yet. Messages that are being sent
// count, and slots of canceled ones until a receiver comes to them. Stats has the exact depth.
// After Close it returns 0.
func (q *Queue[T]) Len() int { return length(q.form) }

// Stats returns the state of the queue. It changes nothing and blocks no other caller, but looks at
// the slot of every message in the queue. It works on a queue attached to read-only. The error is
// ErrClosed.
func (q *Queue[T]) Stats() (Stats, error) { return statsOf(q.form) }

// End ends the stream for all senders in all processes. Sending calls that wait for room, or begin
// later, return ErrEnded; receiving calls return io.EOF after the last message. A Send that has
// claimed its slot when End comes still sends its message and returns nil, and receivers wait for
// that message before they return io.EOF.
//
// In a Single queue receivers do not wait for it: they may return io.EOF, and the message from a
// later call. There the sender should call End, after its last Send. Any attachment that can write
// may call End, at any time and more than once. The errors are ErrReadOnly and ErrClosed.
// After the name was taken End changes nothing: calls return ErrUnlinked.
func (q *Queue[T]) End() error { return end(q.form) }

// Single reports whether the queue was created with Options.Single.
func (q *Queue[T]) Single() bool { return q.form.isSingle() }

// Name returns the name of the queue's segment.
func (q *Queue[T]) Name() string { return q.Segment().Name() }

// Linked reports whether the name still leads to this queue. See shmem.Segment.Linked.
func (q *Queue[T]) Linked() bool { return q.Segment().Linked() }

// Unlinked returns a channel that is closed when the name no longer leads to this queue. See
// shmem.Segment.Unlinked.
func (q *Queue[T]) Unlinked() <-chan struct{} { return q.Segment().Unlinked() }

// Owned reports whether this attachment owns the queue.
func (q *Queue[T]) Owned() bool { return q.Segment().Owned() }

// Own makes this attachment the owner of the queue. See shmem.Segment.Own.
func (q *Queue[T]) Own() error { return q.Segment().Own() }

// Segment returns the queue's segment, for what has no method here. Closing either closes both.
func (q *Queue[T]) Segment() *shmem.Segment { return q.form.attached().Segment }

// Close ends the attachment, and the queue if this attachment owns it. See shmem.Segment.Close.
// Calls that block return ErrClosed. Close waits for the functions of SendFunc and RecvFunc that
// run, so they must not call it. Messages stay for the other attachments. A second Close returns
// nil.
func (q *Queue[T]) Close() error { return q.Segment().Close() }

// Leak ends the attachment and leaves the queue without an owner. See shmem.Segment.Leak.
func (q *Queue[T]) Leak() error { return q.Segment().Leak() }

// The methods below move messages. A call of an end has begun, of the queue's own methods or of a
// Sender or Receiver. A stream.Try does not block.

// sendQuickly sends by the least that a message takes, in a queue for many. It reports false where
// something is in the way, a test steps in, or the race detector.
func (q *Queue[T]) sendQuickly(v *T) (done bool, err error) {
	e := q.many
	if robust.RaceEnabled || step.Hooked() {
		return false, nil
	}
	n, ok := e.mpmc.TryClaim(e.Self)
	if !ok {
		return false, nil
	}
	mem.Assign(q.cells.At(n.Index), v)
	if !e.mpmc.PublishTried(n) {
		return true, e.sendErrors.Corrupt(ring.ErrNotHeld)
	}
	wait.WakeN(e.M, &e.header.RecvArmed, 1)
	if e.mpmc.RoomAhead(n.Pos) {
		if w := e.mpmc.WordAhead(n.Index + ring.Ahead); w != nil {
			mem.PrefetchWrite(w)
		}
		q.cells.PrefetchWrite(n.Index + ring.Ahead)
	}
	return true, nil
}

// send does what claim and publish do, where nothing is in the way, without calls by way of the
// interface. Where a test steps in, or the race detector, claim and publish tell them.
func (q *Queue[T]) send(ctx context.Context, s itemSender, v *T) error {
	if step.Hooked() || robust.RaceEnabled {
		return q.sendSlowly(ctx, s, v)
	}
	if q.many != nil {
		return q.sendMany(ctx, s, v)
	}
	e := s.(*singleItemSender)
	i, ok := e.next()
	if !ok {
		return q.sendSlowly(ctx, s, v)
	}
	mem.Assign(&q.items[i], v)
	e.ring.PublishNext()
	if i += ring.Ahead; i < len(q.items) {
		mem.PrefetchWrite(&q.items[i])
	}
	wait.Wake(e.m, &e.header.RecvArmed)
	return nil
}

// sendMany is send in a queue for many.
func (q *Queue[T]) sendMany(ctx context.Context, s itemSender, v *T) error {
	e := q.many
	n, ok := e.mpmc.ClaimNext(e.Self)
	if !ok {
		return q.sendSlowly(ctx, s, v)
	}
	mem.Assign(q.cells.At(n.Index), v)
	if err := e.mpmc.PublishNext(n); err != nil {
		return e.sendErrors.Corrupt(err)
	}
	wait.WakeN(e.M, &e.header.RecvArmed, 1)
	return nil
}

// sendSlowly is send where something may be in the way.
func (q *Queue[T]) sendSlowly(ctx context.Context, s itemSender, v *T) error {
	r, err := s.claim(ctx, 1)
	if err != nil {
		return err
	}
	q.put(r.first, v)
	return s.publish(r)
}

// sendFunc sends with a stamp, 0 for that of now.
func (q *Queue[T]) sendFunc(
	ctx context.Context, s itemSender, sent int64, f func(*T) error,
) error {
	r, err := s.claim(ctx, 1)
	if err != nil {
		return err
	}
	r.sent = sent
	written := false
	defer func() {
		if !written {
			s.cancel(r)
		}
	}()
	q.clearRest(r.first)
	if err := f(q.item(r.first)); err != nil {
		return err
	}
	written = true
	return s.publish(r)
}

func (q *Queue[T]) sendBatch(ctx context.Context, s itemSender, vs []T) (n int, err error) {
	for n < len(vs) {
		if n > 0 {
			if err := stream.Context(ctx); err != nil {
				return n, q.form.attached().sendErrors.Of(err)
			}
		}
		r, err := s.claim(ctx, len(vs)-n)
		if err != nil {
			return n, err
		}
		q.putAll(r, vs[n:n+r.n])
		if err := s.publish(r); err != nil {
			return n, err
		}
		n += r.n
	}
	return n, nil
}

// putAll writes the items of a run, which may go round the end of the ring.
func (q *Queue[T]) putAll(r run, vs []T) {
	k := min(q.capacity-r.first, r.n)
	if q.items != nil {
		mem.CopySlice(q.items[r.first:], vs[:k])
		mem.CopySlice(q.items, vs[k:])
		return
	}
	slot := r.first
	for i := range vs {
		if q.rest {
			q.put(slot, &vs[i])
		} else {
			mem.Assign(q.cells.At(slot), &vs[i])
		}
		if slot++; slot == q.capacity {
			slot = 0
		}
	}
}

// getAll copies the items of a run.
func (q *Queue[T]) getAll(r run, vs []T) {
	if q.items != nil {
		k := copy(vs, q.items[r.first:])
		copy(vs[k:], q.items)
		return
	}
	slot := r.first
	for i := range vs {
		vs[i] = *q.cells.At(slot)
		if slot++; slot == q.capacity {
			slot = 0
		}
	}
}

// recvQuickly is to recv what sendQuickly is to send.
func (q *Queue[T]) recvQuickly(v *T) (done bool, err error) {
	e := q.many
	if robust.RaceEnabled || step.Hooked() {
		return false, nil
	}
	n, ok := e.mpmc.TryTake(e.Self)
	if !ok {
		return false, nil
	}
	mem.Fetch(v, q.cells.At(n.Index))
	if !e.mpmc.ReleaseTried(n) {
		return true, e.lost()
	}
	wait.WakeN(e.M, &e.header.SendArmed, 1)
	if e.header.Closed.Load() != 0 {
		e.wakeReceivers() // as in released
	}
	if e.mpmc.MessageAhead(n.Pos) {
		if w := e.mpmc.WordAhead(n.Index + ring.Ahead); w != nil {
			mem.PrefetchWrite(w) // receiving changes it
		}
		q.cells.Prefetch(n.Index + ring.Ahead)
	}
	return true, nil
}

// recv does what take and release do where nothing is in the way, as send.
func (q *Queue[T]) recv(ctx context.Context, end itemReceiver, v *T) error {
	if step.Hooked() || robust.RaceEnabled {
		return q.recvSlowly(ctx, end, v)
	}
	if q.many != nil {
		return q.recvMany(ctx, end, v)
	}
	e := end.(*singleItemReceiver)
	if !e.light() {
		return q.recvSlowly(ctx, end, v)
	}
	i, ok := e.ring.Next()
	if !ok {
		return q.recvSlowly(ctx, end, v)
	}
	mem.Fetch(v, &q.items[i])
	e.ring.ReleaseNext()
	if e.ring.Far() {
		if i += ring.Ahead; i < len(q.items) {
			mem.Prefetch(&q.items[i])
		}
	}
	wait.Wake(e.m, &e.header.SendArmed)
	return nil
}

// recvMany is recv in a queue for many.
func (q *Queue[T]) recvMany(ctx context.Context, end itemReceiver, v *T) error {
	e := q.many
	n, ok := e.mpmc.TakeNext(e.Self)
	if !ok {
		return q.recvSlowly(ctx, end, v)
	}
	mem.Fetch(v, q.cells.At(n.Index))
	if err := e.mpmc.ReleaseNext(n); err != nil {
		return e.lost()
	}
	e.consumed()
	return nil
}

// recvSlowly is recv where something may be in the way.
func (q *Queue[T]) recvSlowly(ctx context.Context, end itemReceiver, v *T) error {
	r, err := q.take(ctx, end, 1)
	if err != nil {
		return err
	}
	*v = *q.cells.At(r.first)
	return end.release(r)
}

// take takes messages. One that was delivered too often goes to the dead-letter queue.
func (q *Queue[T]) take(ctx context.Context, end itemReceiver, n int) (run, error) {
	for buried := 1; ; buried++ {
		r, err := end.take(ctx, n)
		if err != nil || q.dead == nil || !q.bury(end, r) {
			return r, err
		}
		forget(end)
		if err := q.form.attached().buried(ctx, buried); err != nil {
			return run{}, err
		}
	}
}

func (q *Queue[T]) recvFunc(ctx context.Context, end itemReceiver, f func(*T) error) error {
	r, err := q.take(ctx, end, 1)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			_ = end.redeliver(r, q.form.attached().care.delay)
		}
	}()
	if err := f(q.item(r.first)); err != nil {
		return err
	}
	done = true
	return end.release(r)
}

func (q *Queue[T]) recvBatch(ctx context.Context, end itemReceiver, vs []T) (int, error) {
	if len(vs) == 0 {
		return 0, nil
	}
	r, err := q.take(ctx, end, len(vs))
	if err != nil {
		return 0, err
	}
	q.getAll(r, vs[:r.n])
	return r.n, end.release(r)
}
