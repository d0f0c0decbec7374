package wait

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
)

// A Group is one wait of one goroutine for several conditions, at any mappings. It needs no other
// goroutine: its members are waiters like others, and where no other waiter of the process leads at
// a mapping, a member does. A member that leads sleeps in a berth, like all others at once.
//
// A Group is the context of the calls that wait: a call that knows of groups calls Enter, which
// registers its condition and returns errs.Entered. For any other call it is a canceled context.
// When Wait returns the index of a member the caller leaves it and makes the call again: the call
// finds what has become of its condition, in its own words, or enters again.
//
//  1. Enter registers the waiter as Until does, and joins the guests of the mapping.
//  2. It takes the lead of the mapping if that is free. Else the leader rings the waiter, and a
//     leader that leaves rings one of the guests, which takes the lead (see offerLead).
//  3. A member that leads says that it sleeps, and looks at the bell once more (see serve). The
//     sentry rings it when the bell changes.
//  4. Wait takes the members that were rung, one after the other: one that leads takes what is
//     pending, and each checks its condition.
//  5. Leave gives the lead back, and passes on what the member was chosen for.
type Group struct {
	mu   sync.Mutex
	rung []*waiter // guarded by mu

	// The goroutine that waits uses the following.
	members []*waiter
	notes   []note
	at      int  // the index of the call that is made
	enters  bool // Enter registers; else it only looks
	bell    chan struct{}
	timer   *time.Timer
	every   time.Duration // until the next tick
}

// A note is what a call has found first; see First.
type note struct {
	value uint32
	there bool
}

var groups = sync.Pool{New: func() any {
	return &Group{bell: make(chan struct{}, 1)}
}}

// over is the channel of a context that is done.
var over = sync.OnceValue(func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
})

// GroupOf returns the group that ctx is; nil if ctx is another context.
func GroupOf(ctx context.Context) *Group {
	g, _ := ctx.(*Group)
	return g
}

// NewGroup returns a group for so many calls. Close ends it.
func NewGroup(n int) *Group {
	g := groups.Get().(*Group)
	for len(g.members) < n {
		g.members, g.notes = append(g.members, nil), append(g.notes, note{})
	}
	return g
}

// Deadline returns no deadline.
func (g *Group) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done returns a closed channel.
func (g *Group) Done() <-chan struct{} { return over() }

// Err returns context.Canceled.
func (g *Group) Err() error { return context.Canceled }

// Value returns nil.
func (g *Group) Value(any) any { return nil }

// Call makes the call of an index, which f is. It returns errs.Entered if the call has entered the
// group, or if enters is false and it would have. Another error, and nil, are those of the call:
// for context.Canceled it waits in another way.
func (g *Group) Call(i int, enters bool, f func(context.Context) error) error {
	g.at, g.enters = i, enters
	g.Leave(i)
	return f(g)
}

// First returns c, or what it returned the first time for this index.
func (g *Group) First(c uint32) uint32 {
	n := &g.notes[g.at]
	if !n.there {
		*n = note{c, true}
	}
	return n.value
}

// Enter is Until in a group: it returns errs.Entered where Until would wait, and context.Canceled
// where no bell can ring the group.
func (g *Group) Enter(
	m *mem.Mapping, armed *atomic.Uint32, ready func() bool, o Options,
) error {
	if m != nil {
		if !m.Pin() {
			return ErrClosed
		}
		defer m.Unpin()
	}
	switch {
	case ready():
		return nil
	case !g.enters:
		return errs.Entered
	case m != nil && (!hasSlot(m) || o.Poll):
		return g.Err()
	}
	l := lotOf(m)
	w := g.members[g.at]
	if w == nil {
		w = waiters.Get().(*waiter)
		g.members[g.at] = w
	}
	if w.lot != nil || l.bell != nil && !l.bell.guest() {
		return g.Err()
	}
	if m != nil && !m.Pin() { // until Leave
		return ErrClosed
	}
	w.group, w.lot, w.index = g, l, g.at
	w.k, w.armed, w.ready, w.watch = l.bucketOf(armed), armed, ready, o.Watch
	w.alike, w.owner = o.Alike, o.Owner
	w.probe.look, w.probe.subject = o.Probe, subject{armed, o.Subject}
	if l.join(w) {
		return errs.Entered
	}
	g.Leave(g.at)
	if m != nil && m.Closed() {
		return ErrClosed
	}
	return nil
}

// join registers a member. It reports false if its wait is over at once.
func (l *parkingLot) join(w *waiter) bool {
	l.register(w)
	l.guests.add(w)
	step.Reach(step.WaitInterest)
	arm(w.armed)
	step.Reach(step.WaitArmed)
	if l.readyOrWatched(w) || l.m != nil && l.m.Closed() { // onDrain may have come before the guest
		return false
	}
	if l.m == nil {
		return true
	}
	if w.probe.look != nil {
		for _, id := range w.watch {
			l.watchFor(w, id)
		}
	}
	w.isProber(clock()) // begins its schedule
	if l.takeLead(w) {
		l.serve(w, false)
	}
	return true
}

// Leave ends the registration of a member. What it was chosen for is passed on.
func (g *Group) Leave(i int) {
	w := g.members[i]
	if w == nil || w.lot == nil {
		return
	}
	l := w.lot
	w.lot = nil
	l.guests.remove(w)
	_ = l.guard(func() { l.leaveGroup(w) }) // memory that faults needs no waker
	if l.m != nil {
		l.m.Unpin()
	}
}

// guard calls f, and returns a fault at the mapping.
func (l *parkingLot) guard(f func()) *mem.Fault {
	if l.m == nil {
		f()
		return nil
	}
	return l.m.Guard(f)
}

func (l *parkingLot) leaveGroup(w *waiter) {
	err := errs.Entered
	defer l.unregister(w, &err)
	if w.leads {
		w.leads = false
		l.bell.ringFor(nil)
		l.slot.Sleeping.Store(0)
		l.token.put()
	}
	if l.token.isFree() {
		l.offerLead()
	}
}

// Close ends the group with all its members.
func (g *Group) Close() {
	for i, w := range g.members {
		g.notes[i] = note{}
		if w == nil {
			continue
		}
		g.Leave(i)
		g.members[i] = nil
		w.group, w.pushed, w.asked = nil, false, false
		waiters.Put(w)
	}
	clear(g.rung) // no other goroutine rings any of them any more
	g.rung = g.rung[:0]
	g.every = 0
	select {
	case <-g.bell:
	default:
	}
	groups.Put(g)
}

// Ring makes Wait return -1 without an error, soon or the next time.
func (g *Group) Ring() { g.push(nil, false) }

// push rings the group for a member. asks: the member checks its condition.
func (g *Group) push(w *waiter, asks bool) {
	g.mu.Lock()
	if w == nil || !w.pushed {
		g.rung = append(g.rung, w)
	}
	if w != nil {
		w.pushed, w.asked = true, w.asked || asks
	}
	g.mu.Unlock()
	select {
	case g.bell <- struct{}{}:
	default:
	}
}

// pop takes a member that was rung.
func (g *Group) pop() (w *waiter, asked, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.rung) - 1
	if n < 0 {
		return nil, false, false
	}
	if w = g.rung[n]; w != nil {
		asked = w.asked
		w.pushed, w.asked = false, false
	}
	g.rung = g.rung[:n]
	return w, asked, true
}

// Wait waits until the call of a member should be made again, and returns its index, or -1 after
// Ring. The error is that of ctx.
func (g *Group) Wait(ctx context.Context) (int, error) {
	g.tickAfter(max(FirstProbe, lookLate))
	defer g.timer.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return -1, err
		}
		switch w, asked, ok := g.pop(); {
		case !ok:
		case w == nil:
			return -1, nil
		case w.lot != nil && g.attend(w, asked):
			return w.index, nil
		default:
			continue
		}
		select {
		case <-g.bell:
		case <-g.timer.C:
			if i := g.tick(); i >= 0 {
				return i, nil
			}
		case <-ctx.Done():
		}
	}
}

// tickAfter sets the time of the next tick.
func (g *Group) tickAfter(d time.Duration) {
	g.every = d
	if g.timer == nil {
		g.timer = time.NewTimer(d)
	} else {
		g.timer.Reset(d)
	}
}

// attend does what a member was rung for, and reports whether its call should be made again. A
// call at memory that faults is made again, and finds that.
func (g *Group) attend(w *waiter, asked bool) (again bool) {
	l, probes := w.lot, w.probeNow.Load()
	fault := l.guard(func() {
		again = l.m != nil && l.m.Closed()
		if !again && (w.leads || l.takeLead(w)) {
			l.serve(w, false)
		}
		again = again || asked && l.check(w) || l.runProbe(w, clock())
	})
	if probes { // the next probe is due in 1 ms
		g.tickAfter(time.Millisecond)
	}
	return again || fault != nil
}

// tick does what is due without a ring: probes, and as the leader a check of all waiters. It
// returns the index of a member whose call should be made again, or -1.
func (g *Group) tick() int {
	found := -1
	for i, w := range g.members {
		if w == nil || w.lot == nil {
			continue
		}
		again := false
		fault := w.lot.guard(func() {
			if w.leads || w.lot.takeLead(w) {
				w.lot.serve(w, true)
			}
			again = w.lot.runProbe(w, clock())
		})
		if again || fault != nil {
			found = i
		}
	}
	g.tickAfter(min(2*g.every, max(backstop, lookLate)))
	return found
}

// takeLead makes a member the leader, if no other waiter leads.
func (l *parkingLot) takeLead(w *waiter) bool {
	if !l.token.take() {
		return false
	}
	step.Reach(step.WaitLead)
	w.leads = true
	l.bell.ringFor(w)
	return true
}

// serveTries bounds the looks of serve, which other processes may overtake each time.
const serveTries = 64

// serve is one turn of lead for a member that leads, up to where it sleeps.
func (l *parkingLot) serve(w *waiter, tick bool) {
	s := l.slot
	for range serveTries {
		s.Sleeping.Store(0)
		bell := l.bell.value() // before pending, as in lead
		set := l.takePending()
		l.accept(set)
		if now := clock(); tick && now-l.lastScan >= backstop {
			l.lastScan, set = now, ^uint64(0)
		}
		if set != 0 {
			l.dispatch(set)
		}
		s.Sleeping.Store(1)
		step.Reach(step.WaitSleep)
		if l.bell.value() == bell {
			return
		}
	}
	w.group.push(w, false)
}

// offerLead rings a guest: the lead is free. Followers that are no guests see the token.
func (l *parkingLot) offerLead() {
	if l.guests.n.Load() > 0 {
		l.guests.ring(1)
	}
}

// guests are the members of groups that wait at a mapping.
type guests struct {
	n   atomic.Int32 // len(all)
	mu  sync.Mutex
	all []*waiter // guarded by mu
}

func (g *guests) add(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.guest = len(g.all)
	g.all = append(g.all, w)
	g.n.Add(1)
}

func (g *guests) remove(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := len(g.all) - 1
	g.all[w.guest] = g.all[last]
	g.all[w.guest].guest = w.guest
	g.all[last] = nil
	g.all = g.all[:last]
	g.n.Add(-1)
}

// ring rings up to n guests, not for their conditions.
func (g *guests) ring(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.all[:min(n, len(g.all))] {
		w.group.push(w, false)
	}
}
