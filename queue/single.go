package queue

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/fence"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/wait"
)

// single is what the two forms for one sender and one receiver have in common. A message passes the
// steps that many describes, without leases: what a dead receiver had not released stays.
type single struct {
	attachment
	header             *ring.SPSCHeader
	size               int // items, or bytes, there is room for
	depth              int // messages there is room for, for wait.YieldLines
	sendSide, recvSide singleSide
	fullHead           atomic.Uint64           // header.Head when the sender found no room
	stampAt            func(head uint64) int64 // the stamp of a message; nil: there are none
}

// A singleSide is one end of a Single queue, as this attachment sees it.
type singleSide struct {
	lock   lock // held by calls of the queue's own methods
	waiter waiterEnd
	holder *atomic.Uint64 // id of the attachment that has this end; 0: none has
	moved  *atomic.Uint64 // its index; 0: no message has passed it
	deaths *atomic.Uint64 // how often the end was taken from a dead one
	note   notes.Kind     // what that means for its last message
	errors *stream.Errors
	taken  atomic.Pointer[takenError] // the last one
}

// A takenError is ErrTaken, made once for each holder.
type takenError struct {
	by  uint32
	err error
}

// deathCounters count how often the holder of an end of a Single queue died. See layout.Deaths.
type deathCounters struct {
	SenderDied   atomic.Uint64
	ReceiverDied atomic.Uint64
	_            [112]byte
}

func (q *single) bindSingle(l *layout.Queue, size, depth int) error {
	h, err := mem.At[ring.SPSCHeader](q.M, 0)
	if err != nil {
		return err
	}
	deaths, err := mem.At[deathCounters](q.M, l.Deaths)
	if err != nil {
		return err
	}
	q.header, q.size, q.depth = h, size, depth
	s, r := &q.sendSide, &q.recvSide
	s.holder, s.deaths, s.errors = &h.Producer, &deaths.SenderDied, &q.sendErrors
	r.holder, r.deaths, r.errors = &h.Consumer, &deaths.ReceiverDied, &q.recvErrors
	s.moved, r.moved = &h.Tail, &h.Head
	s.note, r.note = notes.Skipped, notes.Redelivered
	s.lock.init()
	r.lock.init()
	s.waiter.probe, r.waiter.probe = q.Repair, q.Repair
	s.waiter.init(&h.SendWait, &h.SendArmed, func() bool {
		return h.Head.Load() != q.fullHead.Load() || h.Closed.Load() != 0
	})
	r.waiter.init(&h.RecvWait, &h.RecvArmed, func() bool {
		return h.Tail.Load() != h.Head.Load() || h.Closed.Load() != 0
	})
	return nil
}

func (q *single) isSingle() bool { return true }

func (q *single) length() int {
	head := q.header.Head.Load()
	return int(min(q.header.Tail.Load()-head, uint64(q.size)))
}

func (q *single) stats() Stats {
	h := q.header
	head := h.Head.Load()
	tail := h.Tail.Load()
	return Stats{
		Capacity: q.size, Depth: int(min(tail-head, uint64(q.size))), Sent: tail, Received: head,
		Skipped: q.sendSide.deaths.Load(), Redelivered: q.recvSide.deaths.Load(),
		Ended:     ring.HasEnded(&h.Closed),
		HasSender: q.holds(&q.sendSide), HasReceiver: q.holds(&q.recvSide),
		OldestSent: q.oldest(head, tail),
	}
}

// oldest returns when the message at the head was sent; see Stats.
func (q *single) oldest(head, tail uint64) time.Time {
	if q.stampAt == nil || head == tail {
		return time.Time{}
	}
	stamp := q.stampAt(head)
	if q.header.Head.Load() != head { // it was received meanwhile
		return time.Time{}
	}
	return stream.TimeOf(stamp)
}

// holds reports whether a live process has that end.
func (q *single) holds(s *singleSide) bool {
	id := s.holder.Load()
	return id != 0 && id>>31 == 0 && q.Alive(uint32(id))
}

// watchPeer makes waits of one side end when the holder of the other one is gone: it has died, or
// has left after it has moved messages. The caller has the side.
func (q *single) watchPeer(s, other *singleSide) {
	s.waiter.peer = func() (id uint32, gone bool) {
		switch id := other.holder.Load(); {
		case id == 0:
			return 0, other.moved.Load() > 0
		case id>>31 != 0:
			return 0, false
		default:
			return uint32(id), !q.Alive(uint32(id))
		}
	}
}

func (q *single) endStream() {
	q.header.Closed.CompareAndSwap(0, ring.Ended)
	step.Reach(step.QueueEnded)
	q.wakeReceiver()
	q.wakeSender()
}

// begin begins a call of the queue's own methods: it takes the lock of a side, until leave of the
// end, and the end itself by take where this attachment does not have it. While the attachment has
// the end the lock pins the mapping: Close takes it before the mapping goes (ownSide).
func (q *single) begin(
	ctx context.Context, s *singleSide, owned func() bool, take func() error, busy error,
) error {
	if err := q.Enter(); err != nil {
		return s.errors.Of(err)
	}
	defer q.M.Unpin()
	if err := s.lock.lock(ctx, q.M.Closing); err == errLocked {
		return s.errors.Of(busy)
	} else if err != nil {
		return s.errors.Of(err)
	}
	if owned() {
		return nil
	}
	err := q.stillTaken(s)
	if err == nil {
		err = take()
	}
	if err != nil {
		s.lock.unlock()
	}
	return err
}

// leaver is the end of a ring.
type leaver interface{ Leave() }

// An enterFunc is the method of a ring that makes self the holder of an end, unless its holder
// lives.
type enterFunc[E leaver] func(self uint32, alive func(uint32) bool) (E, error)

// enterSide makes this attachment the holder of one side, and counts the death of the previous
// holder. The error is complete.
func enterSide[E leaver](q *single, s *singleSide, enter enterFunc[E]) (E, error) {
	var previous uint32 // the holder that the ring found
	dead := false       // it is dead
	e, err := enter(q.Self, func(id uint32) bool {
		previous, dead = id, !q.Alive(id)
		return !dead
	})
	if err == ring.ErrOccupied {
		if previous == 0 || dead { // another attachment was faster
			previous = uint32(s.holder.Load())
		}
		return e, q.takenBy(s, previous)
	}
	if err != nil {
		return e, s.errors.Corrupt(err)
	}
	if dead {
		s.deaths.Add(1)
		q.M.Note(s.note, "message", 1, format.ID(previous))
	}
	return e, nil
}

// ownSide is enterSide for the queue's own methods. They keep the side until Close; the caller has
// begun a call on it.
func ownSide[E leaver](q *single, s *singleSide, enter enterFunc[E]) (E, error) {
	e, err := enterSide(q, s, enter)
	if err != nil {
		return e, err
	}
	err = q.AtClose(s, func() {
		_ = s.lock.lock(context.Background(), func() <-chan struct{} { return nil })
		// Keep the lock: a call that was admitted before Close, and gets its turn only now, must
		// not use the side any more.
		e.Leave()
	})
	if err != nil {
		e.Leave()
		return e, s.errors.Of(err)
	}
	return e, nil
}

// stillTaken returns the last ErrTaken again if its holder still has the side and lives, and nil if
// enterSide has to look. So a call that does not block fails without an allocation.
func (q *single) stillTaken(s *singleSide) error {
	t := s.taken.Load()
	if t == nil || t.by == 0 || uint64(t.by) != s.holder.Load() || !q.Alive(t.by) {
		return nil
	}
	return t.err
}

// takenBy returns ErrTaken with its holder; id 0 means that the holder is not known.
func (q *single) takenBy(s *singleSide, id uint32) error {
	if t := s.taken.Load(); t != nil && t.by == id {
		return t.err
	}
	holder := "another attachment, until it closes it or dies"
	switch slot := int(format.ID(id).Slot()); {
	case id == 0:
		holder = "another attachment, which has left it just now"
	case id == q.Self:
		holder = "this attachment's own methods, or a Sender or Receiver of it, until they are " +
			"closed"
	case slot < q.M.Peers.Len():
		pid := q.M.Peers.Slot(slot).PID.Load()
		holder = fmt.Sprintf("pid %d (slot %d), until it closes it or dies", pid, slot)
	}
	const remedy = "for more than one sender and one receiver create the queue without Single"
	err := s.errors.Of(fmt.Errorf("%w by %s; %s", ErrTaken, holder, remedy))
	s.taken.Store(&takenError{id, err})
	return err
}

// lightSend reports whether a sender may publish without a barrier; see waiterEnd.
func (q *single) lightSend() bool { return fence.Light && q.header.RecvWait.Load() == 0 }

// lightRecv reports whether a receiver may release without a barrier.
func (q *single) lightRecv() bool { return fence.Light && q.header.SendWait.Load() == 0 }

// Repair closes the queue if it has lost its name, and reports whether it did. There is nothing
// else to repair in a Single queue.
func (q *single) Repair() bool {
	if !q.FindTaken(&q.header.Closed) {
		return false
	}
	q.wakeReceiver()
	q.wakeSender()
	return true
}

// RepairIfDue is Repair for calls that do not block, at most every 10 ms.
func (q *single) RepairIfDue() bool { return q.RepairDue() && q.Repair() }

// retrySend decides what a sender does after an error of the ring. nil means that it should try
// again, after a wait.
func (q *single) retrySend(ctx context.Context, b *stream.Backoff, err error) error {
	switch err {
	case ring.ErrFull:
		if stream.Tries(ctx) {
			if q.RepairIfDue() {
				return nil
			}
			return ErrFull
		}
		if err := q.sendSide.waiter.wait(ctx, q.M, q.header.Tail.Load(), q.depth); err != nil {
			return err
		}
	case ring.ErrClosed:
		return stream.Closed(&q.header.Closed, ErrEnded)
	default:
		return stream.Corrupt(err)
	}
	return b.Pause(ctx, &q.Attachment, q)
}

// retryRecv decides what a receiver does after an error of the ring, as retrySend.
func (q *single) retryRecv(ctx context.Context, b *stream.Backoff, err error) error {
	switch err {
	case ring.ErrEmpty:
		if stream.Tries(ctx) {
			if q.RepairIfDue() {
				return nil
			}
			return ErrEmpty
		}
		if err := q.recvSide.waiter.wait(ctx, q.M, q.header.Head.Load(), q.depth); err != nil {
			return err
		}
	case ring.ErrClosed:
		return stream.Closed(&q.header.Closed, io.EOF)
	default:
		return stream.Corrupt(err)
	}
	return b.Pause(ctx, &q.Attachment, q)
}

func (q *single) wakeSender()   { wait.Wake(q.M, &q.header.SendArmed) }
func (q *single) wakeReceiver() { wait.Wake(q.M, &q.header.RecvArmed) }

// published wakes the receiver after messages were published.
func (q *single) published() {
	step.Reach(step.QueuePublished)
	q.wakeReceiver()
	step.Reach(step.QueueSent)
}

// released wakes the sender after slots were released.
func (q *single) released() {
	step.Reach(step.QueueReleased)
	q.wakeSender()
	step.Reach(step.QueueReceived)
}

// waitReceiver waits until there is a message, or the end of the stream. The caller has the
// receiving end.
func (q *single) waitReceiver(ctx context.Context) error {
	if g, ready := stream.Group(ctx, q.recvSide.waiter.checked); g != nil {
		return q.recvErrors.Of(q.recvSide.waiter.enter(g, q.M, ready))
	}
	var b stream.Backoff
	for !q.recvSide.waiter.ready() {
		if err := stream.Context(ctx); err != nil {
			return q.recvErrors.Of(err)
		}
		if err := q.retryRecv(ctx, &b, ring.ErrEmpty); err != nil {
			return q.recvErrors.Of(err)
		}
	}
	return nil
}
