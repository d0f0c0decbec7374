package wait

import (
	"context"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
)

// A parkingLot holds the waiters of this process at one mapping, or at ordinary memory.
type parkingLot struct {
	m    *mem.Mapping // nil: ordinary memory
	slot *mem.Slot    // of this attachment; nil if m is nil
	bell doorbell     // of this attachment; nil if m is nil

	token    token                  // of the leader; none without slot
	leader   atomic.Pointer[waiter] // nil: none
	lastScan time.Duration          // of all waiters by a leader, which writes it; by clock
	waiting  atomic.Int32           // how many are registered

	occupied atomic.Uint64 // the buckets that have waiters that are not chosen
	resuming atomic.Int32  // how many are chosen, and have not gone on yet; see Resuming

	watches watches
	gave    atomic.Bool // it has given batons, and watches those that got them
	guests  guests      // members of groups, see Group
	buckets [layout.Buckets]bucket
}

// A bucket holds the waiters for the objects of one hash.
type bucket struct {
	mu         sync.Mutex
	occupied   *atomic.Uint64         // of the parking lot; its bit is changed under mu
	resuming   *atomic.Int32          // of the parking lot, likewise
	first      *waiter                // in the order in which they came; guarded by mu
	last       *waiter                // guarded by mu
	unchosen   int                    // waiters that are not chosen; guarded by mu
	turnstiles map[turnKey]*turnstile // guarded by mu
	probers    probers                // guarded by mu
	spins      ledger
	handedOff  atomic.Int64 // when HandOffDue reported true last, since processStart; 0: never
}

type waiter struct {
	k      int // number of its bucket
	armed  *atomic.Uint32
	ready  func() bool
	alike  bool            // see Options.Alike
	owner  *atomic.Uint32  // see Options.Owner
	stop   <-chan struct{} // see Options.Stop
	keeps  *Lead           // see Options.Lead
	chosen bool            // it was rung because it can go on; guarded by the bucket's mu
	probe  probe
	prober atomic.Bool // the waiter calls Probe for all waiters of the subject
	watch  []format.ID
	owned  format.ID // what owner named at the last look; guarded by the bucket's mu
	// The following two only the waiter's goroutine uses.
	reported bool // the kernel reports the end of the attachment that owner named
	first    bool // no other one waited at the mapping when it registered
	// probeNow asks the waiter to call Probe now: a watched attachment died, or another waiter has
	// found what there is to find.
	probeNow   atomic.Bool
	signal     chan struct{} // holds one ring
	alarm      alarm         // for the next probe
	next, prev *waiter       // guarded by the bucket's mu

	// Of a member of a group:
	group         *Group      // nil: it is none
	pushed, asked bool        // it is in rung; it was rung for its condition; guarded by group.mu
	guest         int         // its index in lot.guests, whose mu guards it
	lot           *parkingLot // nil: it is not registered; only the group's goroutine uses it
	index         int         // of its call; likewise
	leads         bool        // likewise
}

var waiters = sync.Pool{New: func() any { return &waiter{signal: make(chan struct{}, 1)} }}

// ring asks the waiter to check its condition.
func (w *waiter) ring() {
	if w.group != nil {
		w.group.push(w, true)
		return
	}
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// takeRing reports whether the waiter was rung since the last call.
func (w *waiter) takeRing() bool {
	if len(w.signal) == 0 {
		return false
	}
	select {
	case <-w.signal:
		return true
	default:
		return false
	}
}

// check checks the condition after a ring. If the condition does not hold the waiter is not chosen
// any more, and check arms the object and checks once more, so that no change is missed.
func (l *parkingLot) check(w *waiter) bool {
	if w.ready() {
		return true
	}
	was := l.buckets[w.k].unchoose(w, l.slot)
	arm(w.armed)
	if l.readyOrWatched(w) {
		return true
	}
	if was && !w.alike {
		Wake(l.m, w.armed) // other waiters may go on where this one cannot
	}
	return false
}

// ordinary is the parking lot of ordinary memory.
var ordinary parkingLot

func init() { ordinary.open() }

// open makes the buckets ready.
func (l *parkingLot) open() {
	for i := range l.buckets {
		l.buckets[i].occupied, l.buckets[i].resuming = &l.occupied, &l.resuming
	}
}

// lotOf returns the parking lot of m, which it makes at the first call. m is nil or has a slot.
func lotOf(m *mem.Mapping) *parkingLot {
	if m == nil {
		return &ordinary
	}
	if l := m.Waiters.Load(); l != nil {
		return (*l).(*parkingLot)
	}
	slot := m.Peers.Slot(int(m.Peers.Self.Slot()))
	l := &parkingLot{
		m: m, slot: slot, bell: &ownBell{futexBell: futexBell{slot}, m: m},
		token: token{handed: make(chan struct{}, 1)}, lastScan: clock(),
	}
	l.token.free.Store(true)
	l.open()
	a := any(l)
	if m.Waiters.CompareAndSwap(nil, &a) {
		onDrain := l.onDrain
		m.OnDrain.Store(&onDrain)
	}
	return (*m.Waiters.Load()).(*parkingLot)
}

// bucketOf returns the bucket of an object.
func (l *parkingLot) bucketOf(armed *atomic.Uint32) int {
	if l.m == nil {
		return layout.Bucket(mem.Address(armed))
	}
	return layout.Bucket(uintptr(mem.Offset(l.m, armed)))
}

// onDrain wakes the leader when the mapping begins to close. The other waiters see the channel.
// Waiters of other attachments watch the present owner from now on, see readyOrWatched.
func (l *parkingLot) onDrain() {
	l.guests.ring(math.MaxInt)
	l.bell.close()
	l.watches.close()
	l.bell.ring()
	if l.gave.Load() {
		RingAll(l.m)
	}
}

// wakeLeader makes the leader check for what rings no bell. The mapping may be retired already.
func (l *parkingLot) wakeLeader() {
	if l.m.PinNested() {
		defer l.m.Unpin()
		// In a goroutine of its own, where an unhandled fault would end the process.
		_ = l.m.Guard(l.bell.ring)
	}
}

// ringLocal rings the waiters of this process in a set of buckets. Only the leader, which may sleep
// in the kernel, needs the bell.
func (l *parkingLot) ringLocal(set uint64) {
	l.dispatch(set)
	if w := l.leader.Load(); w != nil && len(w.signal) > 0 {
		l.bell.ring()
	}
}

// accept does what comes before dispatch of the buckets that a leader has found pending.
func (l *parkingLot) accept(set uint64) {
	if set == ^uint64(0) {
		l.probeAll() // a ring for all: an attachment has died, perhaps
	}
	if l.slot.Baton.Load() != 0 {
		l.carry(l.slot.Baton.Swap(0), false)
	}
}

// dispatch chooses the waiters in a set of buckets whose conditions hold, and arms for the others.
func (l *parkingLot) dispatch(set uint64) {
	for set &= l.occupied.Load(); set != 0; set &= set - 1 {
		k := bits.TrailingZeros64(set)
		l.watchAll(k, l.buckets[k].dispatch(l.slot))
	}
}

// dispatch returns owners that are to be watched.
func (b *bucket) dispatch(slot *mem.Slot) (owners []format.ID) {
	var last *atomic.Uint32
	b.mu.Lock()
	defer b.mu.Unlock() // also when memory faults: waiters need the lock to leave
	for w := b.first; w != nil; w = w.next {
		if w.chosen {
			continue
		}
		if !w.ready() {
			if w.armed != last {
				last = w.armed
				arm(last)
			}
			if ok, owner := w.look(); !ok {
				if owner != format.NoID {
					owners = append(owners, owner)
				}
				continue
			}
		}
		b.resuming.Add(1)
		b.choose(w, slot)
		w.ring()
	}
	return owners
}

// register adds a waiter to a bucket.
func (l *parkingLot) register(w *waiter) {
	b := &l.buckets[w.k]
	w.first = l.waiting.Add(1) == 1
	b.mu.Lock()
	defer b.mu.Unlock()
	b.enter(w, l.slot)
	if w.prev = b.last; w.prev != nil {
		w.prev.next = w
	} else {
		b.first = w
	}
	b.last = w
	if w.probe.look != nil && b.probers.get(w.probe.subject) == nil {
		b.probers.set(w.probe.subject, w)
		w.prober.Store(true)
	}
}

// unregister removes a waiter from a bucket, passes on what it was chosen for if its wait failed,
// and frees it for reuse.
func (l *parkingLot) unregister(w *waiter, err *error) {
	left := l.buckets[w.k].remove(w, l.slot)
	l.waiting.Add(-1)
	if left.handed && l.m != nil {
		l.ringLocal(0) // the new prober may be the leader
	}
	step.Reach(step.WaitLeave)
	if left.last && l.slot != nil {
		l.carryStranded(w, *err == nil)
	}
	if left.chosen && *err != nil {
		WakeN(l.m, w.armed, 1)
		step.Reach(step.WaitPassed)
	}
	w.takeRing() // no other goroutine rings it any more
	if w.probe.look != nil {
		w.probe = probe{}
		w.prober.Store(false)
	}
	if w.probeNow.Load() {
		w.probeNow.Store(false)
	}
	w.armed, w.ready, w.watch, w.next, w.prev = nil, nil, nil, nil, nil
	w.owner, w.owned, w.stop, w.keeps, w.chosen = nil, 0, nil, nil, false
	w.reported = false
	if w.group == nil { // else the group frees it
		waiters.Put(w)
	}
}

// A leaving says what a waiter leaves behind.
type leaving struct {
	handed bool // another waiter has become the prober in its place
	chosen bool // it was chosen
	last   bool // no waiter of the bucket is left that is not chosen
}

// remove removes a waiter.
func (b *bucket) remove(w *waiter, slot *mem.Slot) (l leaving) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.probe.look != nil && b.probers.get(w.probe.subject) == w {
		l.handed = b.nextProber(w)
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		b.last = w.prev
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		b.first = w.next
	}
	if l.chosen = w.chosen; l.chosen {
		b.resuming.Add(-1)
	}
	b.choose(w, slot)
	l.last = b.unchosen == 0
	return l
}

// wait registers a waiter, and waits until ready holds, Probe reports true, or an error.
func (l *parkingLot) wait(
	ctx context.Context, closing <-chan struct{}, k int, armed *atomic.Uint32,
	ready func() bool, o Options,
) (err error) {
	w := waiters.Get().(*waiter)
	w.k, w.armed, w.ready, w.watch = k, armed, ready, o.Watch
	w.alike, w.owner, w.stop, w.keeps = o.Alike, o.Owner, o.Stop, o.Lead
	if o.Probe != nil {
		w.probe.look, w.probe.subject = o.Probe, subject{armed, o.Subject}
	}
	l.register(w)
	defer l.unregister(w, &err)
	step.Reach(step.WaitInterest)
	arm(armed)
	step.Reach(step.WaitArmed)
	if l.readyOrWatched(w) {
		return nil
	}
	if o.Probe != nil && l.m != nil {
		for _, id := range o.Watch {
			l.watchFor(w, id)
		}
	}
	return l.park(ctx, closing, w)
}

// park waits as the leader, or as a follower until no other waiter leads.
func (l *parkingLot) park(ctx context.Context, closing <-chan struct{}, w *waiter) error {
	if !w.keeps.take() && !l.token.take() {
		if leads, err := l.follow(ctx, closing, w); !leads {
			return err
		}
	}
	return l.lead(ctx, w)
}

// follow waits on channels. It reports whether the waiter has the token of the leader then; else
// its wait is over.
func (l *parkingLot) follow(
	ctx context.Context, closing <-chan struct{}, w *waiter,
) (leads bool, err error) {
	l.token.wanted.Add(1)
	defer l.token.wanted.Add(-1)
	for {
		if w.keeps.take() || l.token.take() {
			return true, nil
		}
		if now := clock(); w.isProber(now) {
			w.alarm.set(w, w.untilProbe(LastProbe, now), now)
		}
		select {
		case <-l.token.handed:
			return true, nil
		case <-w.signal:
			if l.check(w) || l.runProbe(w, clock()) {
				return false, nil
			}
		case <-ctx.Done():
			return false, ctx.Err()
		case <-closing:
			return false, ErrClosed
		case <-w.stop:
			return false, ErrClosed
		}
	}
}

// stopped reports whether Options.Stop is closed.
func (w *waiter) stopped() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// lead sleeps on the doorbell for all waiters at the mapping, until w's own wait is over. The
// caller has the token of the leader. lead puts it back, also when memory faults.
func (l *parkingLot) lead(ctx context.Context, w *waiter) error {
	defer l.resign(w)
	step.Reach(step.WaitLead)
	l.leader.Store(w)
	ends := ctx.Done() != nil
	if ends && w.keeps == nil {
		defer context.AfterFunc(ctx, l.wakeLeader)()
	}
	for slept := time.Duration(0); ; {
		bell := l.bell.value() // before pending: a ring that comes later changes it
		set := l.takePending()
		if l.goesOnAlone(w, set) {
			return nil
		}
		l.accept(set)
		if set != 0 {
			l.dispatch(set)
		}
		if w.takeRing() && l.check(w) {
			return nil
		}
		d, done := l.look(w, &slept)
		if done {
			return nil
		}
		if ends && ctx.Err() != nil {
			return ctx.Err()
		}
		if l.m.Closed() || w.stop != nil && w.stopped() {
			return ErrClosed
		}
		l.bell.sleep(bell, d)
	}
}

// look does what is due without a ring: a check of all waiters, and a probe. It returns for how
// long the leader may sleep, or that its wait is over.
//
// A leader that was the first to wait has just looked, and so have those that came later. It does
// not ask for the time: it is seldom the one for which something is due, and the clock costs as
// much as the rest of the turn. slept is for how long it wanted to sleep then.
func (l *parkingLot) look(w *waiter, slept *time.Duration) (d time.Duration, done bool) {
	first := w.first
	w.first = false
	if first && !w.probeNow.Load() {
		*slept = min(backstop, w.firstProbe())
		return *slept, false
	}
	now := clock()
	if first {
		l.lastScan = now
	}
	if *slept > 0 { // perhaps not for so long: then the first looks come early
		l.lastScan = now - *slept
		w.isProber(l.lastScan)
		*slept = 0
	}
	if now-l.lastScan >= backstop {
		l.lastScan = now
		l.dispatch(^uint64(0))
	}
	if w.takeRing() && l.check(w) || l.runProbe(w, now) {
		return 0, true
	}
	return w.untilProbe(l.lastScan+backstop-now, now), false
}

// resign ends the lead of a waiter.
func (l *parkingLot) resign(w *waiter) {
	l.leader.Store(nil)
	l.giveBack(w.keeps)
}

// takePending takes the buckets that were rung.
func (l *parkingLot) takePending() uint64 {
	if l.slot.Pending.Load() == 0 {
		return 0
	}
	return l.slot.Pending.Swap(0)
}

// goesOnAlone is accept, dispatch and check for a leader that was rung by another process and goes
// on, where no other goroutine waits at the mapping. One that comes just now looks by itself. The
// leader takes a baton of its object: it is the one that would be chosen.
func (l *parkingLot) goesOnAlone(w *waiter, set uint64) bool {
	b := baton(l.slot.Baton.Load())
	switch {
	case set == 0 && b == 0, set == ^uint64(0), l.waiting.Load() != 1:
		return false
	case b != 0 && !b.is(batonOf(mem.Offset(l.m, w.armed))):
		return false
	}
	return w.ready() && (b == 0 || l.slot.Baton.CompareAndSwap(uint64(b), 0))
}
