package wait

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
)

// A doorbell is what the leader of a mapping sleeps on and wakers ring: a word in the slot of the
// attachment, which every ring changes. On Linux it is a futex. Elsewhere package mem has a bell of
// the system beside the word, on which sleeping takes no thread. This file and sentry.go have all
// that the package knows of futexes.
type doorbell interface {
	// value returns a number that every ring changes.
	value() uint32
	// sleep sleeps until a ring, at most for d. It returns at once if the value is not seen any
	// more. Only the leader calls it.
	sleep(seen uint32, d time.Duration)
	// ring wakes the leader, if it sleeps.
	ring()
	// guest reports whether ringFor can be used.
	guest() bool
	// ringFor makes rings of other processes ring w, which leads and does not sleep; nil ends that.
	ringFor(w *waiter)
	// close ends the use of the memory other than by the leader: the mapping drains.
	close()
}

// A futexBell is the doorbell in the slot of an attachment, as the other processes see it.
type futexBell struct{ slot *mem.Slot }

func (b futexBell) value() uint32 { return b.slot.Bell.Load() }

func (b futexBell) ring() {
	b.slot.Bell.Add(1)
	step.Reach(step.WakeBell)
	if b.slot.Sleeping.Load() != 0 {
		b.slot.Rouse()
		step.Reach(step.WakeRung)
	}
}

// maxThreads bounds the leaders with a thread of their own where there are no sentries.
const maxThreads = 128

// maxAlone is how many leaders have a thread of their own: those wake soonest. Tests change it.
var maxAlone int32 = 16

var alone atomic.Int32 // leaders that sleep in a thread of their own

// An ownBell is the doorbell of this process's attachment. Its leader sleeps in one of these ways:
//
//   - in a thread of its own, if fewer than maxAlone leaders of the process do;
//   - else, and if it is a member of a group, in a berth: a sentry, one thread for 127 mappings,
//     sleeps on the bells of all its berths. A mapping keeps its berth;
//   - where the kernel cannot sleep on several futexes (before Linux 5.16, or forbidden by
//     seccomp), in a thread of its own, if fewer than maxThreads leaders do. Further leaders poll
//     their bells, after 1 ms, 2 ms and so on up to 50 ms;
//   - where sleeping takes no thread, all leaders sleep like the first ones. They poll where the
//     system gives them no bell.
type ownBell struct {
	futexBell
	m     *mem.Mapping
	berth atomic.Pointer[berth] // nil: none
	aside atomic.Bool           // the leader sleeps in a thread of its own
	nap   time.Duration         // of a leader that polls; only the leader uses it

	mu     sync.Mutex
	closed bool // guarded by mu
}

func (b *ownBell) sleep(seen uint32, d time.Duration) {
	p := b.berth.Load()
	if p == nil {
		if b.sleepAlone(seen, d, maxAlone) {
			return
		}
		p = b.takeBerth(seen)
	}
	switch {
	case p != nil:
		p.sleep(seen, d)
	case !b.sleepAlone(seen, d, maxThreads):
		b.poll(seen, d)
	}
}

// sleepAlone sleeps in a thread of its own. It reports false if limit leaders do already, or if it
// cannot sleep.
func (b *ownBell) sleepAlone(seen uint32, d time.Duration, limit int32) bool {
	if alone.Add(1) > limit && mem.SleepTakesThread {
		alone.Add(-1)
		return false
	}
	b.aside.Store(true)
	defer b.rise() // also when memory faults
	b.slot.Sleeping.Store(1)
	step.Reach(step.WaitSleep)
	slept := b.slot.Sleep(seen, d)
	b.slot.Sleeping.Store(0)
	step.Reach(step.WaitWoken)
	return slept
}

// rise ends sleepAlone.
func (b *ownBell) rise() {
	b.aside.Store(false)
	alone.Add(-1)
}

// poll sleeps for a while, longer each time that the bell was not rung.
func (b *ownBell) poll(seen uint32, d time.Duration) {
	if b.value() != seen {
		b.nap = 0
		return
	}
	b.nap = min(max(2*b.nap, firstPoll), lastPoll)
	time.Sleep(min(b.nap, d))
}

// ring wakes the leader of this process.
func (b *ownBell) ring() {
	b.slot.Bell.Add(1)
	if p := b.berth.Load(); p != nil && !b.aside.Load() {
		p.ring()
	} else if b.slot.Sleeping.Load() != 0 {
		b.slot.Rouse()
	}
}

// takeBerth gives the bell a berth. It returns nil if there is none to be had.
func (b *ownBell) takeBerth(seen uint32) *berth {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || !haveSentries() {
		return nil
	}
	p := joinSentry(b.m, b.slot, seen)
	b.berth.Store(p)
	return p
}

func (b *ownBell) guest() bool { return b.berth.Load() != nil || b.takeBerth(b.value()) != nil }

func (b *ownBell) ringFor(w *waiter) {
	if p := b.berth.Load(); p != nil {
		p.ringFor(w)
	}
}

func (b *ownBell) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if p := b.berth.Swap(nil); p != nil {
		p.leave()
		p.ring()
	}
}
