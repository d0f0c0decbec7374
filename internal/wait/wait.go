// Package wait parks goroutines on shared memory.
//
// What is waited for is any condition on words of a mapping that can be looked at by loads alone.
// Beside them stands the armed word, which is the object's identity: its offset names the same
// object in every process. Whoever changes the words calls [Wake] after that; whoever needs another
// state calls [Until]. Waiters are goroutines, not threads: of all that wait at one mapping in one
// process, one, the leader, sleeps in the kernel, on the futex word in its attachment's slot (the
// doorbell), and wakes the others by channels.
//
// The protocol, whose every step is a named one of package step:
//
//   - Until: register in the process; set the object's bucket in the slot's interest; arm
//     (armed := (armed + 2) | 1); look; only then sleep.
//   - Wake: if the low bit of armed is clear, nobody waits: done. Else, for every slot that is
//     interested in the bucket: mark it pending, change the bell, wake the bell's sleeper if it says
//     that there is one. Then clear the low bit by compare-and-swap from the value seen at first.
//   - Whoever was woken and has to wait on arms again before looking again.
//
// The count above the low bit never goes back, so that a slow waker cannot clear what was armed
// after it rang. The bit is cleared after ringing, so that a waker which dies in between leaves the
// object armed. A waker that dies before it rang is made good for by the backstop: every leader
// looks at everything that is waited for in its process each 100 ms.
//
// What peers do to the words of the protocol can make waiters wake too often, or as late as the
// backstop, and no worse.
package wait

import (
	"context"
	"io/fs"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
)

// ErrClosed ends the waits at a mapping that is being closed.
var ErrClosed = fs.ErrClosed

// Times of the protocol.
const (
	Backstop  = 100 * time.Millisecond // between two looks of a leader at everything
	FirstLook = 10 * time.Millisecond  // until Options.Look is called first, then twice as long...
	LastLook  = 100 * time.Millisecond // ...up to this
	firstPoll = time.Millisecond       // read-only attachments poll...
	lastPoll  = 50 * time.Millisecond  // ...backing off to this
	MaxSpin   = 20 * time.Microsecond  // the longest that Until spins before it parks
	minSpin   = MaxSpin / 64
)

var began = time.Now()

// Due reports whether at least FirstLook has passed since it reported true for last, and is so for one caller only.
func Due(last *atomic.Int64) bool {
	now, was := int64(time.Since(began)), last.Load()
	return (was == 0 || now-was >= int64(FirstLook)) && last.CompareAndSwap(was, max(now, 1))
}

// backstop is Backstop, but in tests that want to see who is rung and who is only looked for.
var backstop time.Duration = Backstop

// maxSleepers bounds the threads that sleep for this process, one a mapping with waiters. Leaders
// beyond it poll their bells.
const maxSleepers = 128

var (
	sleepers atomic.Int32
	noSpin   atomic.Bool
)

// SetSpin switches spinning on or off for the process; it is on at first.
func SetSpin(on bool) { noSpin.Store(!on) }

// maxSpinners bounds the goroutines of this process that spin at a time: the others have work to do, perhaps the very
// work that is waited for. With one CPU there are none.
var maxSpinners = int32(runtime.NumCPU() / 2)

var spinners atomic.Int32

// startSpin reports whether the caller may spin; it takes 1 from spinners afterwards if so.
func startSpin() bool {
	if noSpin.Load() {
		return false
	}
	if spinners.Add(1) > maxSpinners {
		spinners.Add(-1)
		return false
	}
	return true
}

// Options of Until.
type Options struct {
	// Look is called after 10 ms, then less and less often, to see what nobody would ring for,
	// such as a death. True ends the wait as if it were ready. Of all that wait for the same in
	// this process one is on duty and looks; when its wait ends the next one is.
	Look func() bool
	// Subject is what Look looks at, where that does not follow from the armed word.
	Subject *atomic.Uint32
	// Watch are the attachments whose death Look looks for. Where the kernel can tell of it,
	// Look is called at once when one dies.
	Watch []format.ID
	// Poll: the armed word cannot be written.
	Poll bool
	// NoSpin parks at once.
	NoSpin bool
}

// Until waits until ready reports true. The errors are [ErrClosed] when the mapping begins to
// close, and the context's; when ready holds at first there is none.
//
// armed is the object's armed word, in m or, if m is nil, in ordinary memory. ready is called by any
// goroutine of the process, under a lock of this package: it loads words of m, with care, and does
// nothing else. It may call Until wake for no reason, never the other way round. An attachment that
// cannot write the control block polls.
func Until(ctx context.Context, m *mem.Mapping, armed *atomic.Uint32, ready func() bool, o Options) error {
	var closing <-chan struct{}
	if m != nil {
		if !m.Pin() {
			return ErrClosed
		}
		defer m.Unpin()
		closing = m.Closing()
	}
	if ready() {
		return nil
	}
	if m != nil && (m.Peers == nil || m.Peers.Self == format.Nobody || o.Poll) {
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

// Spin waits for ready as Until would do before it parks, and reports whether it holds. m is pinned.
func Spin(m *mem.Mapping, armed *atomic.Uint32, ready func() bool) bool {
	if ready() {
		return true
	}
	if m != nil && (m.Peers == nil || m.Peers.Self == format.Nobody) {
		return false
	}
	l := lotOf(m)
	return l.spin(l.bucketOf(armed), ready)
}

// Rest comes before Spin at a queue with room for n messages, of which come have come since the last wait. If that is
// a stream it leaves the lines to the other side for some 3 µs, which gets ahead undisturbed: both at the same line
// would be slower than either alone.
func Rest(come uint64, n int) {
	const stream = 16
	if come >= stream && n >= 16*stream && startSpin() {
		pause(160)
		spinners.Add(-1)
	}
}

// Wake wakes those who wait at an object, after its words were changed. m is pinned, or nil for
// ordinary memory. When nobody waits it costs one load.
func Wake(m *mem.Mapping, armed *atomic.Uint32) {
	if g := armed.Load(); g&1 != 0 {
		wake(m, armed, g)
	}
}

func wake(m *mem.Mapping, armed *atomic.Uint32, g uint32) {
	step.Reach(step.WakeArmed)
	if m == nil {
		l := lotOf(nil)
		l.dispatch(1 << l.bucketOf(armed))
		armed.CompareAndSwap(g, g&^1)
		return
	}
	p := m.Peers
	if p == nil || p.Self == format.Nobody {
		return
	}
	k := layout.Bucket(uintptr(mem.Offset(m, armed)))
	bit := uint64(1) << k
	own := int(p.Self.Slot())
	for i := range p.Slots[:p.High()] {
		s := &p.Slots[i]
		if s.Interest.Load()&bit == 0 {
			continue
		}
		if i == own {
			if l := m.Lot.Load(); l != nil {
				(*l).(*lot).ringOwn(bit)
			}
			continue
		}
		s.Pending.Or(bit)
		step.Reach(step.WakePending)
		s.Bell.Add(1)
		step.Reach(step.WakeBell)
		if s.Sleeping.Load() != 0 {
			s.Rouse()
			step.Reach(step.WakeRung)
		}
	}
	step.Reach(step.WakeAll)
	armed.CompareAndSwap(g, g&^1)
	step.Reach(step.WakeDone)
}

// arm says that somebody waits.
func arm(armed *atomic.Uint32) {
	for {
		a := armed.Load()
		if armed.CompareAndSwap(a, (a+2)|1) {
			return
		}
	}
}

// A lot holds the waiters of this process at one mapping, or at ordinary memory.
type lot struct {
	m    *mem.Mapping // nil: ordinary memory
	slot *mem.Slot    // of this attachment; nil if m is

	lead    chan struct{}          // the right to lead; nil if there is nothing to lead for
	leader  atomic.Pointer[waiter] // who has it
	scanned time.Time              // the leader's: when it last looked at everything

	watches watches
	buckets [layout.Buckets]bucket
}

type bucket struct {
	mu    sync.Mutex
	first *waiter
	turns map[*atomic.Uint32]*turn
	duty  map[subject]*waiter // who looks
	spin  atomic.Int64        // ns to spin next time; 0: not tried yet
}

// A subject is what those look at who wait for the same.
type subject struct{ armed, of *atomic.Uint32 }

type waiter struct {
	armed      *atomic.Uint32
	ready      func() bool
	look       look
	duty       atomic.Bool // to look, for all of the same subject
	watch      []format.ID
	died       atomic.Bool // one of watch did, or another has seen what there is to see: look now
	signal     chan struct{}
	next, prev *waiter
}

var waiters = sync.Pool{New: func() any { return &waiter{signal: make(chan struct{}, 1)} }}

// ring tells the waiter to look.
func (w *waiter) ring() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (w *waiter) rung() bool {
	select {
	case <-w.signal:
		return true
	default:
		return false
	}
}

var local lot

func lotOf(m *mem.Mapping) *lot {
	if m == nil {
		return &local
	}
	if l := m.Lot.Load(); l != nil {
		return (*l).(*lot)
	}
	l := &lot{m: m, slot: &m.Peers.Slots[m.Peers.Self.Slot()], lead: make(chan struct{}, 1), scanned: time.Now()}
	l.lead <- struct{}{}
	a := any(l)
	if m.Lot.CompareAndSwap(nil, &a) {
		closing := l.closing
		m.Ring.Store(&closing)
	}
	return (*m.Lot.Load()).(*lot)
}

// bucketOf is the bucket of an object.
func (l *lot) bucketOf(armed *atomic.Uint32) int {
	if l.m == nil {
		return layout.Bucket(mem.Address(armed))
	}
	return layout.Bucket(uintptr(mem.Offset(l.m, armed)))
}

// spin looks for a while, which is halved by every miss and doubled by every hit.
func (l *lot) spin(k int, ready func() bool) bool {
	if !startSpin() {
		return false
	}
	defer spinners.Add(-1)
	b := &l.buckets[k]
	limit := b.spin.Load()
	if limit == 0 {
		limit = int64(MaxSpin)
	}
	for start := time.Now(); ; {
		pause(8)
		if ready() {
			if limit < int64(MaxSpin) {
				b.spin.Store(min(2*limit, int64(MaxSpin)))
			}
			return true
		}
		if int64(time.Since(start)) >= limit {
			return false
		}
	}
}

// learn sets how long the next one spins, after a wait that was parked: longer where that was over so soon that two
// sides that both park may be waiting for each other's waking alone.
func (l *lot) learn(k int, parked time.Time) {
	b := &l.buckets[k]
	limit := b.spin.Load()
	switch {
	case limit == 0:
		limit = int64(MaxSpin)
	case time.Since(parked) <= 2*MaxSpin-time.Duration(limit):
		limit = min(2*limit, int64(MaxSpin))
	default:
		limit = max(limit/2, int64(minSpin))
	}
	b.spin.Store(limit)
}

// closing wakes the leader when the mapping begins to close; the others see the channel.
func (l *lot) closing() {
	l.slot.Bell.Add(1)
	l.slot.Rouse()
	l.watches.close()
}

// kick makes the leader look around; it may come when the mapping has gone.
func (l *lot) kick() {
	if l.m.Join() {
		defer l.m.Unpin()
		// It runs in a goroutine of its own: a fault here would be the end of the process.
		_ = l.m.Guard(func() {
			l.slot.Bell.Add(1)
			l.slot.Rouse()
		})
	}
}

// ringOwn wakes waiters of this process itself; only the leader has to be woken by the bell.
func (l *lot) ringOwn(set uint64) {
	l.dispatch(set)
	if w := l.leader.Load(); w != nil && len(w.signal) > 0 {
		l.slot.Bell.Add(1)
		if l.slot.Sleeping.Load() != 0 {
			l.slot.Rouse()
		}
	}
}

// dispatch rings the waiters in a set of buckets that are ready, and arms for the others.
func (l *lot) dispatch(set uint64) {
	for ; set != 0; set &= set - 1 {
		l.buckets[bits.TrailingZeros64(set)].dispatch()
	}
}

func (b *bucket) dispatch() {
	var last *atomic.Uint32
	b.mu.Lock()
	defer b.mu.Unlock() // also when memory faults: those who wait leave by way of the same lock
	for w := b.first; w != nil; w = w.next {
		if !w.ready() {
			if w.armed != last {
				last = w.armed
				arm(last)
			}
			if !w.ready() {
				continue
			}
		}
		w.ring()
	}
}

func (l *lot) enter(k int, w *waiter) {
	b := &l.buckets[k]
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first == nil && l.slot != nil {
		l.slot.Interest.Or(1 << k)
	}
	if w.next = b.first; w.next != nil {
		w.next.prev = w
	}
	b.first = w
	if w.look.f != nil && b.duty[w.look.subject] == nil {
		if b.duty == nil {
			b.duty = map[subject]*waiter{}
		}
		b.duty[w.look.subject] = w
		w.duty.Store(true)
	}
}

func (l *lot) leave(k int, w *waiter) {
	if l.buckets[k].remove(k, w, l.slot) && l.m != nil {
		l.ringOwn(0) // the next on duty may lead
	}
	step.Reach(step.WaitLeave)
	w.rung() // nobody rings it any more
	w.died.Store(false)
	w.duty.Store(false)
	w.armed, w.ready, w.look, w.watch, w.next, w.prev = nil, nil, look{}, nil, nil, nil
	waiters.Put(w)
}

// remove takes a waiter out, and reports whether another is on duty in its place.
func (b *bucket) remove(k int, w *waiter, slot *mem.Slot) (handed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.duty[w.look.subject] == w {
		delete(b.duty, w.look.subject)
		for next := b.first; next != nil; next = next.next {
			if next != w && next.look.f != nil && next.look.subject == w.look.subject {
				b.duty[w.look.subject] = next
				next.duty.Store(true)
				next.died.Store(w.look.saw)
				next.ring()
				handed = true
				break
			}
		}
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else if b.first = w.next; b.first == nil && slot != nil {
		slot.Interest.And(^(uint64(1) << k))
	}
	return handed
}

// A look is when Options.Look is due.
type look struct {
	f       func() bool
	subject subject
	every   time.Duration // 0: it was not on duty yet
	due     time.Time
	saw     bool // f reported true
}

func (k *look) next() {
	k.due = time.Now().Add(k.every)
	k.every = min(2*k.every, LastLook)
}

// onDuty reports whether it is this one that looks.
func (w *waiter) onDuty() bool {
	if !w.duty.Load() {
		return false
	}
	if w.look.every == 0 {
		w.look.every = FirstLook
		w.look.next()
	}
	return true
}

// in is how long to wait for the next look, at most d.
func (w *waiter) in(d time.Duration) time.Duration {
	if !w.onDuty() {
		return d
	}
	return min(d, max(time.Until(w.look.due), 0))
}

// looked looks if that is due, or if there is something to see.
func (w *waiter) looked() bool {
	k := &w.look
	if k.f == nil {
		return false
	}
	duty := w.onDuty()
	if w.died.Swap(false) {
		k.every = time.Millisecond // the lock byte may be freed a moment after the process
	} else if !duty || time.Now().Before(k.due) {
		return false
	}
	if k.saw = k.f(); k.saw {
		return true
	}
	k.next()
	return false
}

func (l *lot) wait(ctx context.Context, closing <-chan struct{}, k int, armed *atomic.Uint32, ready func() bool, o Options) error {
	w := waiters.Get().(*waiter)
	w.armed, w.ready, w.watch = armed, ready, o.Watch
	w.look.f, w.look.subject = o.Look, subject{armed, o.Subject}
	l.enter(k, w)
	defer l.leave(k, w)
	defer l.learn(k, time.Now())
	step.Reach(step.WaitInterest)
	arm(armed)
	step.Reach(step.WaitArmed)
	if ready() {
		return nil
	}
	if o.Look != nil && l.m != nil {
		for _, id := range o.Watch {
			l.watch(id)
		}
	}
	var timer *time.Timer
	var due <-chan time.Time
	for {
		select {
		case <-l.lead:
			if done, err := l.leading(ctx, w); done || err != nil {
				return err
			}
			continue
		default:
		}
		if w.onDuty() {
			if timer == nil {
				timer = time.NewTimer(w.in(LastLook))
				due = timer.C
				defer timer.Stop()
			} else {
				timer.Reset(w.in(LastLook))
			}
		}
		select {
		case <-l.lead:
			if done, err := l.leading(ctx, w); done || err != nil {
				return err
			}
		case <-w.signal:
			if l.again(w) || w.looked() {
				return nil
			}
		case <-due:
			if w.looked() {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-closing:
			return ErrClosed
		}
	}
}

// again looks after a ring; if it was for nothing it arms before it looks the last time.
func (l *lot) again(w *waiter) bool {
	if w.ready() {
		return true
	}
	arm(w.armed)
	return w.ready()
}

// leading sleeps on the doorbell for all who wait at this mapping, until w's own wait is over. It has
// taken the lead and hands it on, also when memory faults.
func (l *lot) leading(ctx context.Context, w *waiter) (bool, error) {
	defer func() { l.lead <- struct{}{} }()
	step.Reach(step.WaitLead)
	s := l.slot
	l.leader.Store(w)
	defer l.leader.Store(nil)
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, l.kick)()
	}
	nap := time.Millisecond
	for {
		bell := s.Bell.Load()
		set := s.Pending.Swap(0)
		rest := backstop - time.Since(l.scanned)
		if rest <= 0 {
			l.scanned, rest, set = time.Now(), backstop, ^uint64(0)
		}
		if set != 0 {
			l.dispatch(set)
		}
		if w.rung() && l.again(w) || w.looked() {
			return true, nil
		}
		if err := ctx.Err(); err != nil {
			return true, err
		}
		if l.m.Closed() {
			return true, ErrClosed
		}
		rest = w.in(rest)
		if sleep(s, bell, rest) {
			continue
		}
		// Too many threads sleep: look at the bell now and then.
		if s.Bell.Load() == bell {
			time.Sleep(min(nap, rest))
			nap = min(2*nap, lastPoll)
		} else {
			nap = time.Millisecond
		}
	}
}

// sleep sleeps on the bell, unless too many threads do.
func sleep(s *mem.Slot, bell uint32, d time.Duration) bool {
	defer sleepers.Add(-1)
	if sleepers.Add(1) > maxSleepers {
		return false
	}
	s.Sleeping.Store(1)
	step.Reach(step.WaitSleep)
	s.Sleep(bell, d)
	s.Sleeping.Store(0)
	step.Reach(step.WaitWoken)
	return true
}

// poll is how an attachment waits that nobody can ring.
func poll(ctx context.Context, closing <-chan struct{}, ready func() bool, o Options) error {
	var w waiter
	w.look.f = o.Look
	w.duty.Store(o.Look != nil)
	every := firstPoll
	t := time.NewTimer(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if ready() || w.looked() {
				return nil
			}
			every = min(2*every, lastPoll)
			t.Reset(every)
		case <-ctx.Done():
			return ctx.Err()
		case <-closing:
			return ErrClosed
		}
	}
}
