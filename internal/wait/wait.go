// Package wait parks goroutines until words in shared memory have changed.
//
// It imports step, sys, format, layout and mem. Its invariant: a process that changes words and
// then calls [Wake] wakes every waiter for them; if it dies before Wake, waiters check for
// themselves at most [Backstop] later. What peers write to the words of the protocol can make
// waiters wake too often, or as late as the backstop, and has no other effect.
//
// A waiter waits for a condition on words of a mapping that needs only loads. Next to those words
// is the armed word, which identifies the object: its offset is the same in every process. [Until]
// waits for the condition. Waiters are goroutines, not threads: in each process one waiter of a
// mapping, the leader, sleeps in the kernel, on a futex word in the slot of its attachment (the
// doorbell). The leader wakes the others by channels.
//
// The protocol of a waiter:
//
//  1. Set the bit of the object's bucket in the slot's interest (step.WaitInterest).
//  2. Arm the object: armed := (armed + 2) | 1 (step.WaitArmed).
//  3. Check the condition. If it does not hold, wait for the leader, or become the leader
//     (step.WaitLead), say so in the slot (step.WaitSleep) and sleep on the doorbell
//     (step.WaitWoken).
//  4. After every wakeup check the condition. If it does not hold, arm and check once more before
//     sleeping.
//
// The protocol of a waker, after it has changed the words:
//
//  1. Load armed. If its low bit is clear there is no waiter, and Wake is done.
//  2. For every slot that is interested in the bucket: mark the bucket pending (step.WakePending),
//     change the bell (step.WakeBell), and if a leader sleeps wake it (step.WakeRung).
//  3. Clear the low bit by a compare-and-swap from the value of armed that was loaded
//     (step.WakeDone).
//
// The count above the low bit only grows, so a slow waker cannot clear the bit after a later waiter
// has armed the object. The bit is cleared last, so a waker that dies leaves the object armed. The
// waiters that such a waker did not ring are found by the backstop: every 100 ms a leader checks
// the conditions of all waiters of its process at the mapping.
package wait

import (
	"context"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
)

// ErrClosed is returned by waits at a mapping that is being closed.
var ErrClosed = fs.ErrClosed

// Times of the protocol.
const (
	Backstop   = 100 * time.Millisecond // between two checks of all waiters by a leader
	FirstProbe = 10 * time.Millisecond  // from the start of a wait to its first probe
	LastProbe  = 100 * time.Millisecond // longest interval of probes; each is twice the last
	firstPoll  = time.Millisecond       // first interval of an attachment that polls
	lastPoll   = 50 * time.Millisecond  // its longest interval; each is twice the last
)

// backstop is Backstop, except in tests that must see a waiter rung.
var backstop time.Duration = Backstop

// Options of Until.
type Options struct {
	// Probe is called from time to time while the goroutine waits, to find what no process rings
	// for, such as a death. If it reports true the wait ends as if the condition held. The first
	// call comes after FirstProbe. Of all goroutines of the process that wait for the same subject
	// one, the prober, calls it; when its wait ends another one becomes the prober.
	Probe func() bool
	// Subject is what Probe looks at, where the armed word does not determine that.
	Subject *atomic.Uint32
	// Watch are the attachments whose deaths Probe finds. Where the kernel can report a death,
	// Probe is called at once.
	Watch []format.ID
	// Owner is a lock word, whose owner is watched as the attachments in Watch are. The owner may
	// change during the wait: Until watches the owner that it finds when it looks at the condition.
	// At a lock the condition holds unless a living attachment owns the word. Where the kernel
	// reports the owner's death the first call of Probe comes after LastProbe.
	Owner *atomic.Uint32
	// Alike tells that where one waiter at this armed word cannot go on no other one can. Objects
	// that are woken by WakeN need fewer wake-ups then.
	Alike bool
	// Poll tells that the armed word cannot be written.
	Poll bool
	// NoSpin parks without spinning first.
	NoSpin bool
	// Pinned tells that the caller has pinned m, and keeps it so during the wait.
	Pinned bool
	// Stop ends the wait with ErrClosed when it is closed. The closer calls Rouse then.
	Stop <-chan struct{}
	// Lead keeps the lead between the waits of a caller: see Lead.
	Lead *Lead
}

// Until waits until ready reports true. It returns nil if ready holds at first, [ErrClosed] when
// the mapping begins to close, and the context's error when ctx is done. A nil ctx that would be
// waited with is errs.NoContext.
//
// armed is the object's armed word, in m or, if m is nil, in ordinary memory. Any goroutine of the
// process may call ready, under a lock of this package: ready loads words of m and does nothing
// else. If ready reports true too early Until returns too early; ready must not report false while
// the condition holds. An attachment that cannot write the control block polls.
func Until(
	ctx context.Context, m *mem.Mapping, armed *atomic.Uint32, ready func() bool, o Options,
) error {
	var closing <-chan struct{}
	if m != nil {
		if !o.Pinned {
			if !m.Pin() {
				return ErrClosed
			}
			defer m.Unpin()
		}
		closing = m.Closing()
	}
	if ready() {
		return nil
	}
	if ctx == nil {
		return errs.NoContext
	}
	if m != nil && (!hasSlot(m) || o.Poll) {
		return poll(ctx, closing, ready, o)
	}
	l := lotOf(m)
	k := l.bucketOf(armed)
	if !o.NoSpin && l.spin(k, ready) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.wait(ctx, closing, k, armed, ready, o)
}

// hasSlot reports whether this attachment has a slot, so that wakers can ring it.
func hasSlot(m *mem.Mapping) bool { return m.Peers != nil && m.Peers.Self != format.NoID }

// Wake wakes the waiters for an object whose words the caller has changed. m is pinned, or nil for
// ordinary memory. Without waiters Wake costs one load.
func Wake(m *mem.Mapping, armed *atomic.Uint32) {
	if g := armed.Load(); g&1 != 0 {
		wake(m, armed, g)
	}
}

// wake is the rest of Wake, from its second step on; g is the value of armed.
func wake(m *mem.Mapping, armed *atomic.Uint32, g uint32) {
	step.Reach(step.WakeArmed)
	if m == nil {
		l := lotOf(nil)
		l.dispatch(1 << l.bucketOf(armed))
		armed.CompareAndSwap(g, g&^1)
		return
	}
	if !hasSlot(m) {
		return
	}
	ringSlots(m, 1<<layout.Bucket(uintptr(mem.Offset(m, armed))))
	step.Reach(step.WakeAll)
	armed.CompareAndSwap(g, g&^1)
	step.Reach(step.WakeDone)
}

// WakeEach is Wake for several objects. It rings each process once.
func WakeEach(m *mem.Mapping, armed []*atomic.Uint32) {
	set := uint64(0)
	var room [16]uint32
	seen := room[:0]
	for _, a := range armed {
		g := a.Load()
		seen = append(seen, g)
		if g&1 != 0 {
			set |= 1 << layout.Bucket(uintptr(mem.Offset(m, a)))
		}
	}
	if set == 0 || !hasSlot(m) {
		return
	}
	step.Reach(step.WakeArmed)
	ringSlots(m, set)
	step.Reach(step.WakeAll)
	for i, a := range armed {
		if seen[i]&1 != 0 {
			a.CompareAndSwap(seen[i], seen[i]&^1)
		}
	}
	step.Reach(step.WakeDone)
}

// ringSlots rings all attachments that are interested in a bucket.
func ringSlots(m *mem.Mapping, bit uint64) {
	p := m.Peers
	own := int(p.Self.Slot())
	for i := range p.SlotBound() {
		s := p.Slot(i)
		if s.Interest.Load()&bit == 0 {
			continue
		}
		if i == own {
			if l := m.Waiters.Load(); l != nil {
				(*l).(*parkingLot).ringLocal(bit)
			}
			continue
		}
		ring(s, bit)
	}
}

// ring rings the bell of another attachment for the buckets in set.
func ring(s *mem.Slot, set uint64) {
	s.Pending.Or(set)
	step.Reach(step.WakePending)
	futexBell{s}.ring()
}

// arm tells wakers that there is a waiter.
func arm(armed *atomic.Uint32) {
	for {
		a := armed.Load()
		if armed.CompareAndSwap(a, (a+2)|1) {
			return
		}
	}
}

// poll waits without being rung, for an attachment that cannot arm.
func poll(ctx context.Context, closing <-chan struct{}, ready func() bool, o Options) error {
	var w waiter
	w.probe.look = o.Probe
	w.prober.Store(o.Probe != nil)
	every := firstPoll
	t := time.NewTimer(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if _, found := w.runProbe(clock()); found || ready() {
				return nil
			}
			every = min(2*every, lastPoll)
			t.Reset(every)
		case <-ctx.Done():
			return ctx.Err()
		case <-closing:
			return ErrClosed
		case <-o.Stop:
			return ErrClosed
		}
	}
}

// Rouse makes the waits of this process at m return whose Options.Stop was closed before, and those
// in groups check their conditions. m is pinned.
func Rouse(m *mem.Mapping) {
	if p := m.Waiters.Load(); p != nil {
		l := (*p).(*parkingLot)
		l.wakeLeader()
		_ = l.guard(func() { l.dispatch(^uint64(0)) })
	}
}
