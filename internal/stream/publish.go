package stream

import (
	"context"
	"fmt"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/fence"
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
// message by the backstop of package wait. A batch takes steps 1 to 3 for each message, and 4 once.

// A Publisher is a publishing end for one goroutine at a time, except for Close. That of the
// topic's own methods is shared: it has a lock for step 1.
type Publisher struct {
	t        *Topic
	ring     *ring.Publisher // Claim is guarded by t.publishing in the topic's own
	own      bool            // it is the topic's own
	section  fence.Section   // of a call, unless it is the topic's own
	canClaim func() bool     // reserve should try again after a wait
	probe    func() bool     // it should, since a wait is long; or there was something to repair
}

func (t *Topic) newPublisher(own bool) *Publisher {
	p := &Publisher{t: t, ring: t.Ring.Publisher(t.Self), own: own}
	p.canClaim = func() bool { return p.section.IsShut() || t.Ring.CanClaimMany() }
	p.probe = func() bool { return t.Ring.CanClaim() || t.Repair() }
	return p
}

// Publisher makes a publishing end. The errors are ErrClosed and ErrReadOnly.
func (t *Topic) Publisher() (*Publisher, error) {
	if err := t.Enter(); err != nil {
		return nil, t.publishErrors.Of(err)
	}
	defer t.M.Unpin()
	p := t.newPublisher(false)
	if err := t.AtClose(p, p.section.Shut); err != nil {
		return nil, t.publishErrors.Of(err)
	}
	return p, nil
}

// Close ends the publisher. A call in flight that waits returns ErrClosed.
func (p *Publisher) Close() {
	empty := p.section.Stop()
	if !p.t.M.Pin() {
		return
	}
	defer p.t.M.Unpin()
	if !empty {
		p.t.ringOwn()
		return // the mapping has to wait for the call
	}
	p.t.Forget(p)
}

// enter begins a call, which leave ends.
func (p *Publisher) enter() error {
	if p.own {
		if err := p.t.Enter(); err != nil {
			return p.t.publishErrors.Of(err)
		}
		return nil
	}
	if !p.section.Enter() {
		return p.closed()
	}
	return nil
}

// closed returns the error of a call of a closed publisher.
func (p *Publisher) closed() error {
	if p.t.M.Closed() {
		return p.t.publishErrors.Of(shmem.ErrClosed)
	}
	return p.t.publishErrors.EndClosed()
}

func (p *Publisher) leave() {
	if p.own {
		p.t.M.Unpin()
	} else {
		p.section.Leave()
	}
}

// Publish publishes a copy of b, which has the size of an item. A Try returns ErrFull where
// Publish would block.
func (p *Publisher) Publish(ctx context.Context, b []byte) error {
	if !p.section.Enter() {
		return p.closed()
	}
	defer p.section.Leave()
	pos, err := p.ring.Claim()
	if err != nil {
		if pos, _, err = p.reserve(ctx, oneSize); err != nil {
			return p.t.publishErrors.Of(err)
		}
	}
	step.Reach(step.TopicClaimed)
	p.t.Store(pos, b)
	return p.commit(pos)
}

// Publish is that of a Publisher, for any number of goroutines.
func (t *Topic) Publish(ctx context.Context, b []byte) error {
	if err := t.Enter(); err != nil {
		return t.publishErrors.Of(err)
	}
	defer t.M.Unpin()
	t.publishing.Lock()
	pos, err := t.Own.ring.Claim()
	t.publishing.Unlock()
	if err != nil {
		if pos, _, err = t.Own.reserve(ctx, oneSize); err != nil {
			return t.publishErrors.Of(err)
		}
	}
	step.Reach(step.TopicClaimed)
	t.Store(pos, b)
	return t.Own.commit(pos)
}

// PublishBatch publishes n messages in order: put writes the i-th, as the item of a position or, if
// there is size, which returns its length, at an offset. It returns how many are published: all of
// them, or an error.
func (p *Publisher) PublishBatch(
	ctx context.Context, n int, size func(i int) int, put func(pos uint64, off, i int),
) (done int, err error) {
	if n <= 0 {
		return 0, nil
	}
	if err := p.enter(); err != nil {
		return 0, err
	}
	defer p.leave()
	woken := 0 // so many of them have woken subscribers
	for done < n && err == nil {
		var pos uint64
		off, long := 0, oneSize
		if size == nil {
			pos, err = p.claim()
		} else {
			long = size(done)
			pos, off, err = p.claimSized(long)
		}
		if err != nil {
			if done > woken {
				p.t.wakeAll() // before this call waits
				woken = done
			}
			if pos, off, err = p.reserve(ctx, long); err != nil {
				err = p.t.publishErrors.Of(err)
				break
			}
		}
		step.Reach(step.TopicClaimed)
		put(pos, off, done)
		if err = p.finish(pos); err == nil {
			done++
		}
	}
	if done > woken {
		p.t.wakeAll()
		step.Reach(step.TopicSent)
	}
	return done, err
}

// PublishFunc publishes a message that write has written as the item of a position. It returns the
// error of write as it is. If write fails or panics the position is given up: subscribers skip it.
func (p *Publisher) PublishFunc(ctx context.Context, write func(pos uint64) error) error {
	return p.publishFunc(ctx, oneSize, func(pos uint64, _ int) error {
		p.t.clearRest(pos)
		return write(pos)
	})
}

// publishFunc is PublishFunc of a message of n bytes, or of an item. write writes it at an offset,
// or as the item of a position.
func (p *Publisher) publishFunc(
	ctx context.Context, n int, write func(pos uint64, off int) error,
) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	pos, off, err := p.reserve(ctx, n)
	if err != nil {
		return p.t.publishErrors.Of(err)
	}
	step.Reach(step.TopicClaimed)
	written := false
	defer func() {
		if !written {
			p.cancel(pos)
		}
	}()
	if err := write(pos, off); err != nil {
		return err
	}
	written = true
	return p.commit(pos)
}

// cancel gives a claimed position up.
func (p *Publisher) cancel(pos uint64) {
	_ = p.ring.Cancel(pos)
	step.Reach(step.TopicCanceled)
	p.t.wakeAll()
}

// claim claims a position, if that can be done at once.
func (p *Publisher) claim() (pos uint64, err error) {
	if !p.own {
		return p.ring.Claim()
	}
	p.t.publishing.Lock()
	pos, err = p.ring.Claim()
	p.t.publishing.Unlock()
	return pos, err
}

// oneSize is the size of a message in a topic whose messages have one.
const oneSize = -1

// claimSized is claim for a message of n bytes, whose offset it returns, or of an item.
func (p *Publisher) claimSized(n int) (pos uint64, off int, err error) {
	if n == oneSize {
		pos, err = p.claim()
		return pos, 0, err
	}
	if !p.own {
		return p.ring.ClaimBytes(n)
	}
	p.t.publishing.Lock()
	pos, off, err = p.ring.ClaimBytes(n)
	p.t.publishing.Unlock()
	return pos, off, err
}

// gateTries bounds the tries of a call that does not block to get through the gate of a
// topic.Bytes. Each takes far less than 1 µs, unless the holder of the gate is stopped.
const gateTries = 1000

// reserve claims a position, for a message of n bytes or of an item. A Try does not block.
func (p *Publisher) reserve(ctx context.Context, n int) (pos uint64, off int, err error) {
	var backoff Backoff
	t := p.t
	shut := 0 // how often a Try has found the gate shut
	for first := true; ; first = false {
		pos, off, err = p.claimSized(n)
		switch err {
		case nil:
			return pos, off, nil
		case ring.ErrClosed:
			return 0, 0, Closed(&t.Header.Closed, ErrEnded)
		case ring.ErrTooBig:
			return 0, 0, tooBig(n, t.Layout.Bytes)
		case ring.ErrFull, ring.ErrHeld:
			if Tries(ctx) {
				if first && t.RepairIfDue() {
					continue
				}
				return 0, 0, ErrFull
			}
			if err := p.waitRoom(ctx, n); err != nil {
				return p.lastTry(ctx, n, err)
			}
		case ring.ErrBusy:
			if !Tries(ctx) {
				break
			}
			if shut++; n == oneSize || shut > gateTries {
				return 0, 0, ErrFull
			}
			t.RepairIfDue()
			continue
		default:
			return 0, 0, Corrupt(err)
		}
		if err := backoff.Pause(ctx, &t.Attachment, t); err != nil {
			return 0, 0, err
		}
		if p.section.IsShut() {
			return 0, 0, errEndClosed
		}
	}
}

// lastTry is for a wait that has ended by err. There may be room, though less than it was for.
func (p *Publisher) lastTry(ctx context.Context, n int, err error) (pos uint64, off int, _ error) {
	if ctx != nil && ctx.Err() != nil {
		if pos, off, e := p.claimSized(n); e == nil {
			return pos, off, nil
		}
	}
	return 0, 0, err
}

func tooBig(n, limit int) error {
	return fmt.Errorf("%w: %d bytes, MaxLen is %d; see BytesOptions.Bytes", ErrTooBig, n, limit)
}

// longWait is how many messages a topic keeps at least whose publishers wait without spinning.
const longWait = 256

// waitRoom waits until a publisher that found no room for n bytes, or an item, should try again. It
// watches the processes that can hold it back: a subscriber whose hold is in the way, and
// publishers that have claimed the same slot or the same bytes before.
//
// Subscribers wake it when there is room for half of the topic. So it sleeps seldom, and does
// not spin where that would be for long. A probe finds less room where that is all that comes.
func (p *Publisher) waitRoom(ctx context.Context, n int) error {
	t, ready := p.t, p.canClaim
	blocker := t.Ring.Blocker()
	publisher := t.Ring.Holder(t.Header.Tail.Load() - uint64(t.Layout.Capacity))
	o := wait.Options{Probe: p.probe, NoSpin: t.Layout.Capacity >= longWait}
	if n == oneSize {
		o.Watch = t.Watch(blocker, publisher)
	} else {
		o.Probe = t.Repair
		slowest, _ := t.Ring.Slowest() // holds its bytes, perhaps
		o.Watch = t.Watch(slowest, publisher, t.Ring.Writing())
		ready = func() bool { return p.section.IsShut() || t.Ring.CanClaimBytes(n) }
	}
	return wait.Until(ctx, t.M, &t.Header.SendArmed, ready, o)
}

// commit publishes the item of a claimed position, and wakes those that wait.
func (p *Publisher) commit(pos uint64) error {
	if err := p.finish(pos); err != nil {
		return err
	}
	t := p.t
	wait.Wake(t.M, &t.Header.RecvArmed)
	wait.Wake(t.M, &t.Header.SendArmed) // publishers that have come round to this slot
	step.Reach(step.TopicSent)
	return nil
}

// finish publishes the item of a claimed position.
func (p *Publisher) finish(pos uint64) error {
	t := p.t
	step.Reach(step.TopicWritten)
	if robust.RaceEnabled {
		robust.Releasing(t.Object(), &t.Header.RecvArmed)
	}
	t.stamp(pos)
	if err := p.ring.Publish(pos); err != nil {
		return t.publishErrors.Corrupt(err)
	}
	word, slot := p.ring.Ahead(pos)
	if word != nil {
		mem.PrefetchWrite(word)
	}
	if l := t.Layout; l.Stride != 0 { // messages of one size
		t.M.PrefetchWriteAt(l.Items + slot*l.Stride)
	}
	step.Reach(step.TopicPublished)
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
			t.acquired()
			return pos, nil
		}
	}
	return 0, t.latestErrors.Of(ErrEmpty)
}

// acquired tells the race detector that a message was read.
func (t *Topic) acquired() {
	if robust.RaceEnabled {
		robust.Acquired(t.Object(), &t.Header.RecvArmed)
	}
}

// PublishInPlace is PublishFunc for a caller that sees the item as bytes.
func (t *Topic) PublishInPlace(ctx context.Context, write func([]byte) error) error {
	return t.Own.PublishFunc(ctx, func(pos uint64) error { return write(t.InPlace(pos)) })
}
