package queue

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/wait"
)

// many is what the two forms for any number of senders and receivers have in common.
//
// A message passes these steps; a process may be killed at each of them:
//
//  1. A sender claims a slot (step.QueueClaimed),
//  2. writes the message (step.QueueWritten),
//  3. publishes it (step.QueuePublished),
//  4. and wakes the receivers that wait (step.QueueSent).
//  5. A receiver takes the message on a lease (step.QueueTaken),
//  6. reads it (step.QueueRead),
//  7. releases the slot (step.QueueReleased),
//  8. and wakes the senders that wait (step.QueueReceived).
//
// In place of 7 a receiver returns the message (step.QueueReturned), or moves it to the dead-letter
// queue first (step.QueueDead). Another process may end its lease (step.QueueRevoked).
//
// Killed before 3, the slot is skipped after the next Repair; killed between 5 and 7, the message
// is redelivered. A waiter that was not woken is found by the backstop of package wait.
type many struct {
	attachment
	header *ring.MPMCHeader
	ring   manyRing
	depth  int // messages there is room for, for wait.YieldLines

	redelivered redeliveries
	alarm       alarm // rings when messages come due

	alike        bool        // all senders wait for the same room: not in a Bytes
	canRecv      func() bool // a receiver that waits should try again
	repair       func() bool // Repair, made once
	sendWaitHead atomic.Uint64
	recvWaitHead atomic.Uint64 // header.Head when a sender, a receiver waited last
}

// A manyRing is what ring.MPMC and ring.MPMCBytes have in common.
type manyRing interface {
	Cancel(self uint32, pos uint64) error
	ReleaseAgain(self uint32, pos uint64) error
	Return(self uint32, pos uint64, due int64) error
	ReturnAgain(self uint32, pos uint64, due int64) error
	Retake(self uint32, now int64) (pos uint64, deliveries int, ok bool)
	Stamp(self uint32, pos uint64, now int64)
	Mend(c ring.Care) (skips, returns int, back bool)
	Stuck() (producer, consumer uint32)
	Holders(ids []uint32, n int) []uint32
	CanTake() bool
	Sweep() bool
	NoLease() bool
	InTheWay(pos uint64) bool
	Stats() ring.MPMCStats
	Oldest(stamps []atomic.Uint64) int64
	Len() int
	Cap() int
	Close()
}

func (q *many) bindMany(h *ring.MPMCHeader, r manyRing, depth int) {
	q.header, q.ring, q.depth = h, r, depth
	q.canRecv = r.CanTake
	q.repair = q.Repair
}

func (q *many) isSingle() bool { return false }
func (q *many) length() int    { return q.ring.Len() }

func (q *many) stats() Stats {
	s := q.ring.Stats()
	return Stats{
		Capacity: q.ring.Cap(), Depth: s.Ready, Sending: s.Claimed,
		Receiving: s.Leased + s.ToRedeliver,
		Sent:      s.Sent, Received: q.header.Head.Load(),
		Skipped: s.Skipped, Redelivered: s.Returned, Ended: s.Ended, OldestSent: q.oldest(),
	}
}

// oldest returns when the oldest message that waits was sent; see Stats.
func (q *many) oldest() time.Time {
	if q.stamps == nil {
		return time.Time{}
	}
	return stream.TimeOf(q.ring.Oldest(q.stamps))
}

func (q *many) endStream() {
	q.ring.Close()
	step.Reach(step.QueueEnded)
	q.wakeAll()
}

// leave ends a call of the queue's own methods.
func (q *many) leave() { q.M.Unpin() }

func (q *many) wakeSenders()   { wait.Wake(q.M, &q.header.SendArmed) }
func (q *many) wakeReceivers() { wait.Wake(q.M, &q.header.RecvArmed) }

func (q *many) wakeAll() {
	q.wakeReceivers()
	q.wakeSenders()
}

// Repair frees what dead processes hold, closes the queue if it has lost its name, and reports
// whether there was something to do.
func (q *many) Repair() bool {
	taken := q.FindTaken(&q.header.Closed)
	alive, died := q.M.Noted(q.AliveOnce())
	now := milliseconds()
	c := ring.Care{Alive: alive, Now: now, Clock: milliseconds, Limit: roundedUp(q.care.limit)}
	if q.care.delay > 0 {
		c.Delay = dueAfter(q.care.delay) - now
	}
	skips, returns, back := q.ring.Mend(c)
	if returns > 0 && q.care.delay > 0 {
		q.repairAfter(q.care.delay)
	}
	// Nothing but a receiver's call sweeps skipped slots, and there may be no receiver: sweep them
	// here, for a sender that waits for room.
	if swept := q.ring.Sweep(); skips+returns == 0 && !back && !swept && !taken {
		return false
	}
	step.Reach(step.QueueRepaired)
	q.wakeAll()
	q.M.Note(notes.Skipped, "message", uint64(skips), *died)
	q.M.Note(notes.Redelivered, "message", uint64(returns), *died)
	return true
}

// RepairIfDue is Repair for calls that do not block, at most every 10 ms.
func (q *many) RepairIfDue() bool { return q.RepairDue() && q.Repair() }

// tries are those of one call.
type tries struct {
	n       int
	waited  bool // it was woken, perhaps as the only one: see passRoom and passMessage
	backoff stream.Backoff
}

// retrySend decides what a sender does after an error of the ring. nil means that it should try
// again: at once, or after a wait for ready.
func (q *many) retrySend(ctx context.Context, t *tries, err error, ready func() bool) error {
	switch err {
	case ring.ErrFull:
		if err := q.awaitRoom(ctx, t, ready); err != nil {
			return err
		}
	case ring.ErrBusy:
		if stream.Tries(ctx) {
			return ErrFull
		}
	case ring.ErrClosed:
		return stream.Closed(&q.header.Closed, ErrEnded)
	default:
		return stream.Corrupt(err)
	}
	t.n++
	if stream.Tries(ctx) {
		return nil
	}
	return t.backoff.Pause(ctx, &q.Attachment, q)
}

// awaitRoom sweeps skipped slots, or else waits for room.
func (q *many) awaitRoom(ctx context.Context, t *tries, ready func() bool) error {
	if (!stream.Tries(ctx) || t.n < stream.Patience) && q.ring.Sweep() {
		return nil
	}
	if stream.Tries(ctx) {
		if t.n == 0 && q.RepairIfDue() {
			return nil
		}
		return ErrFull
	}
	if t.waited && !q.alike { // the room is too small for this message, perhaps not for others
		wait.WakeN(q.M, &q.header.SendArmed, 1)
	}
	head := q.header.Head.Load()
	wait.YieldLines(head-q.sendWaitHead.Swap(head), q.depth)
	_, receiver := q.ring.Stuck()
	o := wait.Options{Probe: q.repair, Watch: q.Watch(receiver), Alike: q.alike}
	err := stream.Wait(ctx, q.M, &q.header.SendArmed, ready, o)
	t.waited = t.waited || err == nil
	return err
}

// retryRecv decides what a receiver does after an error of the ring, as retrySend.
func (q *many) retryRecv(ctx context.Context, t *tries, err error) error {
	switch err {
	case ring.ErrEmpty, ring.ErrHeld:
		if stream.Tries(ctx) {
			if t.n == 0 && q.RepairIfDue() {
				break
			}
			return ErrEmpty
		}
		if err := q.waitMessage(ctx); err != nil {
			return err
		}
		t.waited = true
	case ring.ErrReturned: // another receiver was faster, or no message is due
		if stream.Tries(ctx) && t.n >= stream.Patience {
			return ErrEmpty
		}
	case ring.ErrBusy:
		if stream.Tries(ctx) {
			return ErrEmpty
		}
	case ring.ErrClosed:
		return stream.Closed(&q.header.Closed, io.EOF)
	default:
		return stream.Corrupt(err)
	}
	t.n++
	if stream.Tries(ctx) {
		return nil
	}
	return t.backoff.Pause(ctx, &q.Attachment, q)
}

// waitMessage waits until a receiver should try again. It watches the sender whose message is next,
// and receivers whose leases would be redelivered.
func (q *many) waitMessage(ctx context.Context) error {
	q.wakeSenders() // this call may have swept slots of dead or canceled senders
	head := q.header.Head.Load()
	wait.YieldLines(head-q.recvWaitHead.Swap(head), q.depth)
	if wait.Spin(q.M, &q.header.RecvArmed, q.canRecv) {
		return nil
	}
	o := wait.Options{Probe: q.repair, NoSpin: true, Watch: q.watchList(), Alike: true}
	return stream.Wait(ctx, q.M, &q.header.RecvArmed, q.canRecv, o)
}

// watchList returns the sender whose message is next, and receivers whose leases would be
// redelivered.
func (q *many) watchList() []format.ID {
	var ids [5]uint32
	ids[0], _ = q.ring.Stuck()
	return q.Watch(q.ring.Holders(ids[:1], len(ids)-1)...)
}

// passMessage ends the tries of a receiver: if it was woken and there are more messages it wakes
// the next one.
func (q *many) passMessage(t *tries) {
	if t.waited && q.header.RecvArmed.Load()&1 != 0 && q.canRecv() {
		wait.WakeN(q.M, &q.header.RecvArmed, 1)
	}
}

// passRoom ends the tries of a sender, as passMessage. canSend is for senders that are alike.
func (q *many) passRoom(t *tries, canSend func() bool) {
	if t.waited && q.header.SendArmed.Load()&1 != 0 && (!q.alike || canSend()) {
		wait.WakeN(q.M, &q.header.SendArmed, 1)
	}
}

// published wakes receivers after n messages were published.
func (q *many) published(n int) {
	step.Reach(step.QueuePublished)
	wait.WakeN(q.M, &q.header.RecvArmed, n)
	step.Reach(step.QueueSent)
}

// released wakes senders after n slots were released. When the last message of an ended stream is
// released, receivers see the end.
func (q *many) released(n int) {
	step.Reach(step.QueueReleased)
	wait.WakeN(q.M, &q.header.SendArmed, n)
	if q.header.Closed.Load() != 0 {
		q.wakeReceivers()
	}
	step.Reach(step.QueueReceived)
}

// consumed is released of one slot, without steps.
func (q *many) consumed() {
	wait.WakeN(q.M, &q.header.SendArmed, 1)
	if q.header.Closed.Load() != 0 {
		q.wakeReceivers()
	}
}

// cancelAt gives a claimed position up.
func (q *many) cancelAt(pos uint64) {
	_ = q.ring.Cancel(q.Self, pos)
	step.Reach(step.QueueCanceled)
	if q.ring.Sweep() {
		q.wakeSenders()
	}
	q.wakeReceivers()
}

// wait waits until there may be a message, or the end of the stream. It may be woken as the only
// one, and receives nothing: so it wakes the next one.
func (q *many) wait(ctx context.Context) error {
	if g, ready := stream.Group(ctx, q.canRecv); g != nil {
		o := wait.Options{Probe: q.repair, Alike: true}
		if sender, _ := q.ring.Stuck(); sender != 0 || !q.ring.NoLease() {
			o.Watch = q.watchList()
		}
		return q.recvErrors.Of(g.Enter(q.M, &q.header.RecvArmed, ready, o))
	}
	t := tries{waited: true}
	defer q.passMessage(&t)
	for !q.canRecv() {
		if err := stream.Context(ctx); err != nil {
			return q.recvErrors.Of(err)
		}
		if err := q.waitMessage(ctx); err != nil {
			return q.recvErrors.Of(err)
		}
	}
	return nil
}
