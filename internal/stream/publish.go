package stream

import (
	"context"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// A message is published in these steps; a process may be killed at each of them:
//
//  1. reserve claims a position: its slot is this publisher's (step.TopicClaimed).
//  2. The caller writes the item (step.TopicWritten).
//  3. commit makes the message readable (step.TopicPublished),
//  4. and wakes the subscribers that wait (step.TopicSent).
//
// Killed before 3, the slot is skipped by the next Repair. Killed before 4, the waiters find the
// message by the backstop of package wait.

// Publish publishes a copy of b, which has the size of an item. A Try returns ErrFull where
// Publish would block.
func (t *Topic) Publish(ctx context.Context, b []byte) error {
	if err := t.Enter(); err != nil {
		return t.publishErrors.Of(err)
	}
	defer t.M.Unpin()
	pos, err := t.reserve(ctx)
	if err != nil {
		return t.publishErrors.Of(err)
	}
	t.Store(pos, b)
	return t.commit(pos)
}

// PublishFunc publishes a message that write has written as the item of a position. It returns the
// error of write as it is. If write fails or panics the position is given up: subscribers skip it.
func (t *Topic) PublishFunc(ctx context.Context, write func(pos uint64) error) error {
	if err := t.Enter(); err != nil {
		return t.publishErrors.Of(err)
	}
	defer t.M.Unpin()
	pos, err := t.reserve(ctx)
	if err != nil {
		return t.publishErrors.Of(err)
	}
	written := false
	defer func() {
		if !written {
			t.cancel(pos)
		}
	}()
	t.clearRest(pos)
	if err := write(pos); err != nil {
		return err
	}
	written = true
	return t.commit(pos)
}

// cancel gives a claimed position up.
func (t *Topic) cancel(pos uint64) {
	_ = t.publisher.Cancel(pos)
	step.Reach(step.TopicCanceled)
	t.wakeAll()
}

// reserve claims a position. A Try does not block.
func (t *Topic) reserve(ctx context.Context) (pos uint64, err error) {
	var backoff Backoff
	for first := true; ; first = false {
		t.publishing.Lock()
		pos, err = t.publisher.Claim()
		t.publishing.Unlock()
		switch err {
		case nil:
			step.Reach(step.TopicClaimed)
			return pos, nil
		case ring.ErrClosed:
			return 0, Closed(&t.Header.Closed, ErrEnded)
		case ring.ErrFull, ring.ErrHeld:
			if Tries(ctx) {
				if first && t.RepairIfDue() {
					continue
				}
				return 0, ErrFull
			}
			if err := t.waitRoom(ctx); err != nil {
				return 0, err
			}
		case ring.ErrBusy:
			if Tries(ctx) {
				return 0, ErrFull
			}
		default:
			return 0, Corrupt(err)
		}
		if err := backoff.Pause(ctx, &t.Attachment, t); err != nil {
			return 0, err
		}
	}
}

// waitRoom waits until a publisher that found no room should try again. It watches the two
// processes that can hold it back: the slowest subscriber with a hold, and the publisher that
// claimed the same slot one lap ago.
func (t *Topic) waitRoom(ctx context.Context) error {
	slowest, _ := t.Ring.Slowest()
	publisher := t.Ring.Holder(t.Header.Tail.Load() - uint64(t.Layout.Capacity))
	o := wait.Options{Probe: t.Repair, Watch: t.Watch(slowest, publisher)}
	return wait.Until(ctx, t.M, &t.Header.SendArmed, t.Ring.CanClaim, o)
}

// commit publishes the item of a claimed position.
func (t *Topic) commit(pos uint64) error {
	step.Reach(step.TopicWritten)
	if robust.RaceEnabled {
		robust.Releasing(t.Object(), &t.Header.RecvArmed)
	}
	if err := t.publisher.Publish(pos); err != nil {
		return t.publishErrors.Corrupt(err)
	}
	word, slot := t.publisher.Ahead(pos)
	if word != nil {
		mem.PrefetchWrite(word)
	}
	t.M.PrefetchWriteAt(t.Layout.Items + slot*t.Layout.Stride)
	step.Reach(step.TopicPublished)
	wait.Wake(t.M, &t.Header.RecvArmed)
	wait.Wake(t.M, &t.Header.SendArmed) // publishers that have come round to this slot
	step.Reach(step.TopicSent)
	return nil
}

// latestTries bounds the tries of Latest, which publishers may overtake each time.
const latestTries = 1000

// Latest copies the newest message to b and returns its position. It is ErrEmpty if there is none,
// or if publishers overwrote it during every try.
func (t *Topic) Latest(b []byte) (pos uint64, err error) {
	if !t.M.Pin() {
		return 0, t.latestErrors.Of(shmem.ErrClosed)
	}
	defer t.M.Unpin()
	for range latestTries {
		pos, err := t.Ring.Latest()
		if err != nil {
			break
		}
		t.Load(pos, b)
		if t.Ring.Valid(pos) {
			if robust.RaceEnabled {
				robust.Acquired(t.Object(), &t.Header.RecvArmed)
			}
			return pos, nil
		}
	}
	return 0, t.latestErrors.Of(ErrEmpty)
}

// PublishInPlace is PublishFunc for a caller that sees the item as bytes.
func (t *Topic) PublishInPlace(ctx context.Context, write func([]byte) error) error {
	return t.PublishFunc(ctx, func(pos uint64) error { return write(t.InPlace(pos)) })
}
