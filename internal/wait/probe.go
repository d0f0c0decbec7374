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
	due     time.Duration // by clock
	found   bool          // look reported true
}

// schedule sets the time of the next call, and doubles the interval.
func (p *probe) schedule(now time.Duration) {
	p.due = now + p.every
	p.every = min(2*p.every, max(LastProbe, lookLate))
}

// isProber reports whether the waiter is the prober of its subject. now is what clock returns, here
// and below.
func (w *waiter) isProber(now time.Duration) bool {
	if !w.prober.Load() {
		return false
	}
	if w.probe.every == 0 {
		w.probe.every = w.firstProbe()
		w.probe.schedule(now)
	}
	return true
}

// firstProbe returns the time from the start of the wait to the first probe, should the waiter be
// the prober.
func (w *waiter) firstProbe() time.Duration {
	if w.probe.look == nil || w.reported {
		return max(LastProbe, lookLate)
	}
	return max(FirstProbe, lookLate)
}

// untilProbe returns the time until the waiter's next probe, at most d.
func (w *waiter) untilProbe(d, now time.Duration) time.Duration {
	if !w.isProber(now) {
		return d
	}
	return min(d, max(w.probe.due-now, 0))
}

// runProbe calls Probe if that is due or asked for, and returns its result.
func (w *waiter) runProbe(now time.Duration) (looked, found bool) {
	p := &w.probe
	if p.look == nil {
		return false, false
	}
	prober := w.isProber(now)
	if w.probeNow.Load() && w.probeNow.Swap(false) {
		p.every = time.Millisecond // the kernel may free the lock byte a moment after the death
	} else if !prober || now < p.due {
		return false, false
	}
	if p.found = p.look(); p.found {
		return true, true
	}
	p.schedule(now)
	return true, false
}

// runProbe is that of the waiter, which afterwards watches the present owner.
func (l *parkingLot) runProbe(w *waiter, now time.Duration) bool {
	looked, found := w.runProbe(now)
	return found || looked && l.readyOrWatched(w)
}

// probeAll makes all probers call Probe now.
func (l *parkingLot) probeAll() {
	for i := range l.buckets {
		b := &l.buckets[i]
		b.mu.Lock()
		for w := range b.probers.all {
			w.probeNow.Store(true)
			w.ring()
		}
		b.mu.Unlock()
	}
}

// probers are the probers of a bucket, one for each subject. One subject is the usual case, and
// needs no map.
type probers struct {
	one  *waiter             // nil: none
	of   subject             // of one
	more map[subject]*waiter // of other subjects
}

// get returns the prober of a subject, nil if there is none.
func (p *probers) get(s subject) *waiter {
	if p.one != nil && p.of == s {
		return p.one
	}
	return p.more[s]
}

// set makes a waiter the prober of a subject that has none.
func (p *probers) set(s subject, w *waiter) {
	switch {
	case p.one == nil:
		p.one, p.of = w, s
	case p.more == nil:
		p.more = map[subject]*waiter{s: w}
	default:
		p.more[s] = w
	}
}

// remove removes the prober of a subject.
func (p *probers) remove(s subject) {
	if p.one != nil && p.of == s {
		p.one = nil
	} else {
		delete(p.more, s)
	}
}

// all calls f with each prober until f reports false.
func (p *probers) all(f func(*waiter) bool) {
	if p.one != nil && !f(p.one) {
		return
	}
	for _, w := range p.more {
		if !f(w) {
			return
		}
	}
}

// nextProber makes another waiter of the same subject the prober instead of w, and reports whether
// there is one. If w found something, or was to look, the next prober looks at once, so that all
// waiters find it, one after the other. b.mu is held.
func (b *bucket) nextProber(w *waiter) bool {
	b.probers.remove(w.probe.subject)
	for next := b.first; next != nil; next = next.next {
		if next != w && next.probe.look != nil && next.probe.subject == w.probe.subject {
			b.probers.set(w.probe.subject, next)
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
