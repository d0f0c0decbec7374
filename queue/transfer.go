package queue

import (
	"context"
	"io"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// What the queue's own methods and those of Sender and Receiver do, once the mapping is pinned and, in a
// Single queue, the end is the caller's. The end is nil otherwise, and a place is a position then, else a
// slot. A nil context means not to wait.

// reserve finds places for up to n messages in a row.
func (q *Queue[T]) reserve(ctx context.Context, s *ring.Sender, n int) (at uint64, k int, err error) {
	if s != nil {
		var i int
		if q.closed.Load() != 0 {
			return 0, 0, ErrEnded
		}
		if i, k, err = s.Reserve(n); err == nil {
			step.Reach(step.QueueClaimed)
			return uint64(i), k, nil
		}
	} else if at, k, err = q.ring.ClaimN(q.self, n); err == nil {
		step.Reach(step.QueueClaimed)
		return at, k, nil
	}
	return q.reserveSlow(ctx, s, n, err)
}

func (q *Queue[T]) reserveSlow(ctx context.Context, s *ring.Sender, n int, err error) (at uint64, k int, _ error) {
	var tried tries
	for try := 0; ; try++ {
		switch err {
		case nil:
			step.Reach(step.QueueClaimed)
			return at, k, nil
		case ring.ErrClosed:
			return 0, 0, ErrEnded
		case ring.ErrFull:
			if s == nil && (ctx != nil || try < patience) && q.ring.Sweep() {
				break
			}
			if ctx == nil {
				if try == 0 && q.lookNow() {
					break
				}
				return 0, 0, ErrFull
			}
			if err := q.waitSend(ctx, q.canSend); err != nil {
				return 0, 0, err
			}
		case ring.ErrBusy:
			if ctx == nil {
				return 0, 0, ErrFull
			}
		default:
			return 0, 0, q.errorOf(err)
		}
		if ctx != nil {
			if err := q.again(ctx, &tried); err != nil {
				return 0, 0, err
			}
		}
		if s != nil {
			q.full.Store(q.single.Head.Load())
			var i int
			i, k, err = s.Reserve(n)
			at = uint64(i)
		} else {
			at, k, err = q.ring.ClaimN(q.self, n)
		}
	}
}

// item is the message at the j-th of some places.
func (q *Queue[T]) item(single bool, at uint64, j int) *T {
	if single {
		return &q.items[int(at)+j]
	}
	return &q.items[q.ring.Index(at+uint64(j))]
}

// publish hands out the first k of the places.
func (q *Queue[T]) publish(s *ring.Sender, at uint64, k int) error {
	step.Reach(step.QueueWritten)
	if robust.RaceEnabled {
		robust.Releasing(q.object(), q.recvArmed)
	}
	switch {
	case s == nil:
		if err := q.ring.PublishN(q.self, at, k); err != nil {
			return q.errorOf(err)
		}
	case q.lightSend():
		s.Publish(k)
	default:
		s.PublishFence(k)
	}
	q.published()
	return nil
}

func (q *Queue[T]) send(ctx context.Context, s *ring.Sender, v *T) error {
	// What follows below, without the detours.
	switch {
	case step.Hooked() || robust.RaceEnabled:
	case s == nil:
		if at, err := q.ring.Claim(q.self); err == nil {
			mem.Assign(&q.items[q.ring.Index(at)], v)
			if err := q.ring.PublishFence(q.self, at); err != nil {
				return q.errorOf(err)
			}
			wait.Wake(q.m, q.recvArmed)
			q.sentAt(at)
			return nil
		}
	case q.closed.Load() == 0 && q.lightSend():
		if i, ok := s.Next(); ok {
			mem.Assign(&q.items[i], v)
			s.PublishNext()
			q.sentSingle(i)
			wait.Wake(q.m, q.recvArmed)
			return nil
		}
	}
	at, _, err := q.reserve(ctx, s, 1)
	if err != nil {
		return err
	}
	mem.Assign(q.item(s != nil, at, 0), v)
	return q.publish(s, at, 1)
}

func (q *Queue[T]) sendFunc(ctx context.Context, s *ring.Sender, f func(*T) error) (err error) {
	at, _, err := q.reserve(ctx, s, 1)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done && s == nil {
			_ = q.cancel(at)
		}
	}()
	if err := f(q.item(s != nil, at, 0)); err != nil {
		return err
	}
	done = true
	return q.publish(s, at, 1)
}

func (q *Queue[T]) sendBatch(ctx context.Context, s *ring.Sender, vs []T) (n int, err error) {
	for n < len(vs) {
		at, k, err := q.reserve(ctx, s, len(vs)-n)
		if err != nil {
			return n, err
		}
		q.copyIn(s != nil, at, vs[n:n+k])
		if err := q.publish(s, at, k); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// copyIn copies to places in a row, which may go round the end of the ring.
func (q *Queue[T]) copyIn(single bool, at uint64, vs []T) {
	i := int(at)
	if !single {
		i = q.ring.Index(at)
	}
	k := min(len(q.items)-i, len(vs))
	mem.CopySlice(q.items[i:], vs[:k])
	mem.CopySlice(q.items, vs[k:])
}

func (q *Queue[T]) copyOut(single bool, at uint64, vs []T) {
	i := int(at)
	if !single {
		i = q.ring.Index(at)
	}
	k := copy(vs, q.items[i:])
	copy(vs[k:], q.items)
}

// take finds up to n messages in a row.
func (q *Queue[T]) take(ctx context.Context, r *ring.Receiver, n int) (at uint64, k int, err error) {
	if r != nil {
		var i int
		if i, k, err = r.Peek(n); err == nil {
			q.taken()
			return uint64(i), k, nil
		}
	} else if at, k, _, err = q.ring.TakeN(q.self, n); err == nil {
		q.taken()
		return at, k, nil
	}
	return q.takeSlow(ctx, r, n, err)
}

func (q *Queue[T]) taken() {
	step.Reach(step.QueueTaken)
	if robust.RaceEnabled {
		robust.Acquired(q.object(), q.recvArmed)
	}
}

func (q *Queue[T]) takeSlow(ctx context.Context, r *ring.Receiver, n int, err error) (at uint64, k int, _ error) {
	var tried tries
	for try := 0; ; try++ {
		switch err {
		case nil:
			q.taken()
			return at, k, nil
		case ring.ErrClosed:
			return 0, 0, io.EOF
		case ring.ErrEmpty, ring.ErrHeld:
			if ctx == nil {
				if try == 0 && q.lookNow() {
					break
				}
				return 0, 0, ErrEmpty
			}
			if err := q.waitRecv(ctx); err != nil {
				return 0, 0, err
			}
		case ring.ErrBusy:
			if ctx == nil {
				return 0, 0, ErrEmpty
			}
		default:
			return 0, 0, q.errorOf(err)
		}
		if ctx != nil {
			if err := q.again(ctx, &tried); err != nil {
				return 0, 0, err
			}
		}
		if r != nil {
			var i int
			i, k, err = r.Peek(n)
			at = uint64(i)
		} else {
			at, k, _, err = q.ring.TakeN(q.self, n)
		}
	}
}

// release gives the places of k messages free.
func (q *Queue[T]) release(r *ring.Receiver, at uint64, k int) error {
	step.Reach(step.QueueRead)
	switch {
	case r == nil:
		if err := q.ring.ReleaseN(q.self, at, k); err != nil {
			return q.errorOf(err)
		}
	case q.lightRecv():
		r.Release(k)
	default:
		r.ReleaseFence(k)
	}
	q.released()
	return nil
}

func (q *Queue[T]) recv(ctx context.Context, r *ring.Receiver, v *T) error {
	// What follows below, without the detours.
	switch {
	case step.Hooked() || robust.RaceEnabled:
	case r == nil:
		if at, _, err := q.ring.Take(q.self); err == nil {
			*v = q.items[q.ring.Index(at)]
			if err := q.ring.ReleaseFence(q.self, at); err != nil {
				return q.errorOf(err)
			}
			wait.Wake(q.m, q.sendArmed)
			if q.closed.Load() != 0 {
				wait.Wake(q.m, q.recvArmed)
			}
			q.receivedAt(at)
			return nil
		}
	case q.lightRecv():
		if i, ok := r.Next(); ok {
			*v = q.items[i]
			r.ReleaseNext()
			if r.Far() {
				q.receivedSingle(i)
			}
			wait.Wake(q.m, q.sendArmed)
			return nil
		}
	}
	at, _, err := q.take(ctx, r, 1)
	if err != nil {
		return err
	}
	*v = *q.item(r != nil, at, 0)
	return q.release(r, at, 1)
}

func (q *Queue[T]) recvFunc(ctx context.Context, r *ring.Receiver, f func(*T) error) error {
	at, _, err := q.take(ctx, r, 1)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done && r == nil {
			_ = q.giveBack(at)
		}
	}()
	if err := f(q.item(r != nil, at, 0)); err != nil {
		return err
	}
	done = true
	return q.release(r, at, 1)
}

func (q *Queue[T]) recvBatch(ctx context.Context, r *ring.Receiver, vs []T) (int, error) {
	if len(vs) == 0 {
		return 0, nil
	}
	at, k, err := q.take(ctx, r, len(vs))
	if err != nil {
		return 0, err
	}
	q.copyOut(r != nil, at, vs[:k])
	return k, q.release(r, at, k)
}
