package topic

import (
	"context"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// Publish publishes v. It does not wait but where a subscriber holds it back (Options.Holds), or where another
// publisher has been at its message for a whole round. When it returns nil the message is in the topic, whatever
// happens to this process; with an error it is not, but for ErrCorrupt. Its cost does not grow with the number of
// subscribers, but for waking those that wait. The errors are the context's, ErrEnded after End, ErrClosed,
// ErrReadOnly and ErrCorrupt. The context counts only where Publish has to wait.
//
// A subscriber that dies holding it back is found after 100 ms at most, and so is a publisher.
func (t *Topic[T]) Publish(ctx context.Context, v T) error { return t.publish(ctx, &v) }

// TryPublish is Publish that returns ErrFull where Publish would wait.
func (t *Topic[T]) TryPublish(v T) error { return t.publish(nil, &v) }

func (t *Topic[T]) publish(ctx context.Context, v *T) error {
	if err := t.enter(); err != nil {
		return err
	}
	defer t.m.Unpin()
	pos, err := t.reserve(ctx)
	if err != nil {
		return err
	}
	t.store(pos, v)
	return t.commit(pos)
}

// PublishFunc publishes a message that f writes in its place in the topic, without a copy. The value f finds is
// that of an older message, which is lost: the oldest that was kept. If f fails or panics nothing is published, and
// its place, a sequence number, stays empty. Other messages can be published meanwhile, but not be received before this
// one. The pointer is not to be used after f. The errors are those of f and of
// Publish.
func (t *Topic[T]) PublishFunc(ctx context.Context, f func(*T) error) error {
	if err := t.enter(); err != nil {
		return err
	}
	defer t.m.Unpin()
	pos, err := t.reserve(ctx)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			_ = t.ring.Publisher(t.self).Cancel(pos)
			step.Reach(step.TopicCanceled)
			wait.Wake(t.m, &t.h.RecvArmed)
			wait.Wake(t.m, &t.h.SendArmed) // as in commit
		}
	}()
	if robust.RaceEnabled {
		// Subscribers look at the old message until they see that it is gone: no race, but it looks like one.
		var v T
		t.load(pos, &v)
		err = f(&v)
		t.store(pos, &v)
	} else {
		err = f(&t.items[t.ring.Index(pos)].Value)
	}
	if err != nil {
		return err
	}
	done = true
	return t.commit(pos)
}

// reserve claims a place. A nil context means not to wait.
func (t *Topic[T]) reserve(ctx context.Context) (pos uint64, err error) {
	var tried tries
	for try := 0; ; try++ {
		t.claim.Lock()
		pos, err = t.pub.Claim()
		t.claim.Unlock()
		switch err {
		case nil:
			step.Reach(step.TopicClaimed)
			return pos, nil
		case ring.ErrClosed:
			return 0, ErrEnded
		case ring.ErrFull, ring.ErrHeld:
			if ctx == nil {
				if try == 0 && t.lookNow() {
					continue
				}
				return 0, ErrFull
			}
			if err := t.waitRoom(ctx); err != nil {
				return 0, err
			}
		case ring.ErrBusy:
			if ctx == nil {
				return 0, ErrFull
			}
		default:
			return 0, t.corrupt(err)
		}
		if err := t.again(ctx, &tried); err != nil {
			return 0, err
		}
	}
}

// waitRoom waits until a publisher that could not go on should try again.
func (t *Topic[T]) waitRoom(ctx context.Context) error {
	o := wait.Options{Look: t.repair}
	if id, _ := t.ring.Slowest(); id != 0 {
		o.Watch = append(o.Watch, format.ID(id))
	}
	if id := t.ring.Holder(t.h.Tail.Load() - uint64(len(t.items))); id != 0 {
		o.Watch = append(o.Watch, format.ID(id))
	}
	return wait.Until(ctx, t.m, &t.h.SendArmed, t.ring.CanClaim, o)
}

func (t *Topic[T]) commit(pos uint64) error {
	step.Reach(step.TopicWritten)
	if robust.RaceEnabled {
		robust.Releasing(t.object(), &t.h.RecvArmed)
	}
	if err := t.pub.Publish(pos); err != nil {
		return t.corrupt(err)
	}
	t.publishedAt(pos)
	step.Reach(step.TopicPublished)
	wait.Wake(t.m, &t.h.RecvArmed)
	wait.Wake(t.m, &t.h.SendArmed) // publishers that came round to this message
	step.Reach(step.TopicSent)
	return nil
}

// Latest is the newest message and its sequence number, without subscribing. ErrEmpty: there is none yet, or
// publishers have overwritten it faster than it could be read, a thousand times. It works on a topic attached to
// read-only. ErrClosed.
func (t *Topic[T]) Latest() (v T, seq uint64, err error) {
	if !t.m.Pin() {
		return v, 0, errClosed
	}
	defer t.m.Unpin()
	for range 1000 {
		pos, err := t.ring.Latest()
		if err != nil {
			break
		}
		t.load(pos, &v)
		if t.ring.Valid(pos) {
			if robust.RaceEnabled {
				robust.Acquired(t.object(), &t.h.RecvArmed)
			}
			return v, pos, nil
		}
	}
	var none T
	return none, 0, ErrEmpty
}
