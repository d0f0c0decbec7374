package queue

import (
	"sync"
	"time"

	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/step"
)

// A leaseKind says how a lease ends; see lease.go in internal/ring.
type leaseKind uint8

const (
	fresh      leaseKind = iota // on a message that is delivered for the first time
	batched                     // on several of these, to copy them
	redelivery                  // on a message that is redelivered
)

// A lease is what a receiver has on a message. In a Single queue it says nothing.
type lease struct {
	kind       leaseKind
	deliveries int    // of the message, this one included
	serial     uint64 // of a redelivery: which one of this attachment
}

// redeliveries are the leases on redelivered messages that this attachment has. Two of them on one
// position, of which the first was ended by another process, look alike in the ring.
type redeliveries struct {
	mu     sync.Mutex
	serial uint64            // guarded by mu
	last   map[uint64]uint64 // position: serial of its last lease; guarded by mu
}

// care says how this attachment treats leases.
type care struct{ delay, limit time.Duration }

func milliseconds() int64 { return time.Now().UnixMilli() }

// dueAfter returns when at least delay will have passed, as milliseconds will say it.
func dueAfter(delay time.Duration) int64 {
	now := time.Duration(time.Now().UnixNano())
	return roundedUp(now + min(delay, ring.MaxDelay*time.Millisecond))
}

// roundedUp returns d in milliseconds.
func roundedUp(d time.Duration) int64 {
	ms := d.Milliseconds()
	if d > time.Duration(ms)*time.Millisecond {
		ms++
	}
	return ms
}

// retake takes a message that was returned.
func (q *many) retake() (pos uint64, l lease, ok bool) {
	r := &q.redelivered
	r.mu.Lock()
	defer r.mu.Unlock()
	pos, n, ok := q.ring.Retake(q.Self, milliseconds())
	if !ok {
		return 0, lease{}, false
	}
	r.serial++
	if r.last == nil {
		r.last = map[uint64]uint64{}
	}
	r.last[pos] = r.serial
	return pos, lease{redelivery, n, r.serial}, true
}

func (r *redeliveries) end(pos, serial uint64, f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last[pos] != serial {
		return ring.ErrNotHeld
	}
	delete(r.last, pos)
	return f()
}

// releaseAgain consumes a redelivered message.
func (q *many) releaseAgain(pos uint64, l lease) error {
	err := q.redelivered.end(pos, l.serial,
		func() error { return q.ring.ReleaseAgain(q.Self, pos) })
	if err != nil {
		return q.lost()
	}
	q.released(1)
	return nil
}

// lost is the error of a lease that has ended before.
func (q *many) lost() error { return q.recvErrors.Of(ErrLeaseLost) }

// fullDelay is the delay of a message that fills the queue. dueAfter adds up to 1 ms.
const fullDelay = (ring.FullDelay - 1) * time.Millisecond

// returnAt ends a lease without consuming the message, which is redelivered after a delay.
func (q *many) returnAt(pos uint64, l lease, delay time.Duration) (err error) {
	due := int64(0)
	if delay > fullDelay && q.ring.InTheWay(pos) {
		delay = fullDelay
	}
	if delay > 0 {
		due = dueAfter(delay)
	}
	if l.kind == redelivery {
		err = q.redelivered.end(pos, l.serial,
			func() error { return q.ring.ReturnAgain(q.Self, pos, due) })
	} else {
		err = q.ring.Return(q.Self, pos, due)
	}
	if err != nil {
		return q.lost()
	}
	step.Reach(step.QueueReturned)
	if due == 0 {
		q.wakeReceivers()
	} else {
		q.repairAfter(delay)
	}
	return nil
}

// repairAfter repairs after a delay, when a message comes due. If this process dies before, others
// find the message when they look for deaths.
func (q *many) repairAfter(delay time.Duration) {
	q.alarm.set(min(delay, ring.MaxDelay*time.Millisecond), q.M.Closing(), q.repairOnce)
}

// repairOnce is Repair for a goroutine that has not pinned the mapping.
func (q *many) repairOnce() {
	if q.M.Pin() {
		defer q.M.Unpin()
		_ = q.M.Guard(func() { q.Repair() })
	}
}

// keep says since when this attachment has a message that it keeps.
func (q *many) keep(r run) {
	q.ring.Stamp(q.Self, r.pos, milliseconds())
	step.Reach(step.QueueLent)
}
