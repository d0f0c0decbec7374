package wait

import (
	"sync/atomic"
	"time"
)

// A subject is what Probe looks at. Waiters with the same subject need only one prober.
type subject struct{ armed, of *atomic.Uint32 }

// lookLate is the least time between two probes, see LookLate.
var lookLate time.Duration

// LookLate makes waiters of this process look by themselves only every d, before any of them waits.
// It is for proofs: what no process rings for is found late then, so that it shows.
func LookLate(d time.Duration) { backstop, lookLate = d, d }

// A probe is a waiter's Options.Probe with its schedule. Only the waiter's goroutine uses it,
// except for the hand-over in nextProber.
type probe struct {
	look    func() bool
	subject subject
	every   time.Duration // until the next call; 0: the waiter was not the prober yet
	due     time.Time
	found   bool // look reported true
}

// schedule sets the time of the next call, and doubles the interval.
func (p *probe) schedule() {
	p.due = time.Now().Add(p.every)
	p.every = min(2*p.every, max(LastProbe, lookLate))
}

// isProber reports whether the waiter is the prober of its subject.
func (w *waiter) isProber() bool {
	if !w.prober.Load() {
		return false
	}
	if w.probe.every == 0 {
		w.probe.every = max(FirstProbe, lookLate)
		w.probe.schedule()
	}
	return true
}

// untilProbe returns the time until the waiter's next probe, at most d.
func (w *waiter) untilProbe(d time.Duration) time.Duration {
	if !w.isProber() {
		return d
	}
	return min(d, max(time.Until(w.probe.due), 0))
}

// runProbe calls Probe if that is due or asked for, and returns its result.
func (w *waiter) runProbe() (looked, found bool) {
	p := &w.probe
	if p.look == nil {
		return false, false
	}
	prober := w.isProber()
	if w.probeNow.Swap(false) {
		p.every = time.Millisecond // the kernel may free the lock byte a moment after the death
	} else if !prober || time.Now().Before(p.due) {
		return false, false
	}
	if p.found = p.look(); p.found {
		return true, true
	}
	p.schedule()
	return true, false
}

// runProbe is that of the waiter, which afterwards watches the present owner.
func (l *parkingLot) runProbe(w *waiter) bool {
	looked, found := w.runProbe()
	return found || looked && l.readyOrWatched(w)
}

// probeAll makes all probers call Probe now.
func (l *parkingLot) probeAll() {
	for i := range l.buckets {
		b := &l.buckets[i]
		b.mu.Lock()
		for _, w := range b.probers {
			w.probeNow.Store(true)
			w.ring()
		}
		b.mu.Unlock()
	}
}

// nextProber makes another waiter of the same subject the prober instead of w, and reports whether
// there is one. If w found something, or was to look, the next prober looks at once, so that all
// waiters find it, one after the other. b.mu is held.
func (b *bucket) nextProber(w *waiter) bool {
	delete(b.probers, w.probe.subject)
	for next := b.first; next != nil; next = next.next {
		if next != w && next.probe.look != nil && next.probe.subject == w.probe.subject {
			b.probers[w.probe.subject] = next
			next.prober.Store(true)
			if w.probe.found || w.probeNow.Load() { // it may have been told itself
				next.probeNow.Store(true)
			}
			next.ring()
			return true
		}
	}
	return false
}
