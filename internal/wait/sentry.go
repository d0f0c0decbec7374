package wait

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
)

// A sentry is a goroutine, with a thread, that sleeps on the bells of up to maxBerths mappings at
// once and rings those leaders whose bells have changed. It compares each bell with the value that
// it saw last, so it misses no ring: not even one that came while it was not asleep.
//
//  1. Under mu load every bell, ring the leaders of those that differ, and note the values.
//  2. Sleep until one of them is woken or differs from its note, or the control word does.
//  3. Look first at the bell that the kernel says was woken: its leader does not wait for the rest.
//
// After it has rung it yields, so that the leaders go on at once in its thread. Else they would
// wait until Go has started another thread, or has found this one asleep.
type sentry struct {
	control atomic.Uint32 // changes with the berths; a futex word

	mu     sync.Mutex
	berths []*berth // guarded by mu

	listed []*berth // those whose bells are in the list, behind the control word; only run uses it
}

// maxBerths leaves room for the control word.
const maxBerths = mem.MaxFutexes - 1

// haveSentries reports whether the kernel can sleep on several futexes.
var haveSentries = sync.OnceValue(mem.HaveFutexes)

// sentries are those of this process. Its mutex is taken before that of a sentry.
var sentries struct {
	mu     sync.Mutex
	all    []*sentry // each has berths; guarded by mu
	joined int       // berths that there have been; guarded by mu
}

// A berth is the place of one mapping at a sentry.
type berth struct {
	sentry *sentry
	m      *mem.Mapping
	slot   *mem.Slot
	seen   uint32        // the bell when the sentry looked last; guarded by sentry.mu
	lost   bool          // the memory has faulted, or the berth was given up; guarded by sentry.mu
	rung   chan struct{} // holds one ring
	member *waiter       // leads without sleeping here; nil: none; guarded by sentry.mu
	phase  time.Duration // of its looks, see together
	timer  *time.Timer   // only the leader uses it
}

// joinSentry gives a mapping a berth. seen is the value of its bell for which the leader sleeps.
func joinSentry(m *mem.Mapping, slot *mem.Slot, seen uint32) *berth {
	b := &berth{m: m, slot: slot, seen: seen, rung: make(chan struct{}, 1)}
	sentries.mu.Lock()
	defer sentries.mu.Unlock()
	b.phase = time.Duration(sentries.joined/perLook) * lookStep % lookEvery
	sentries.joined++
	for _, s := range sentries.all {
		if s.add(b) {
			return b
		}
	}
	s := new(sentry)
	s.add(b)
	sentries.all = append(sentries.all, s)
	go s.run()
	return b
}

// add adds a berth, if there is room.
func (s *sentry) add(b *berth) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.berths) == maxBerths {
		return false
	}
	b.sentry = s
	s.berths = append(s.berths, b)
	s.changed()
	return true
}

// leave gives the berth up: the sentry does not touch the memory any more. The last one to leave
// ends the sentry.
func (b *berth) leave() {
	sentries.mu.Lock()
	defer sentries.mu.Unlock()
	s := b.sentry
	s.mu.Lock()
	defer s.mu.Unlock()
	b.lost = true
	s.berths = slices.DeleteFunc(s.berths, func(x *berth) bool { return x == b })
	if len(s.berths) == 0 {
		sentries.all = slices.DeleteFunc(sentries.all, func(x *sentry) bool { return x == s })
		s.changed()
	}
}

// changed wakes the sentry to look at its berths. mu is held.
func (s *sentry) changed() {
	s.control.Add(1)
	mem.FutexWake(&s.control)
}

func (s *sentry) run() {
	var list mem.Futexes
	for {
		left, rang := s.look(&list)
		if !left {
			return
		}
		if rang {
			yield()
		}
		woken, err := list.Sleep()
		if err != nil {
			time.Sleep(firstPoll) // the next look finds out why, or polls
		}
		if woken > 0 && s.lookAt(woken-1) {
			yield()
		}
	}
}

// yield lets the leaders that were rung go on in this thread. One yield is not enough: it puts the
// sentry into the scheduler's global queue, which every 61st turn of the scheduler looks at first.
// Then the sentry would sleep at once, and the leaders wait until Go takes the thread's P, which
// takes up to 10 ms.
func yield() {
	runtime.Gosched()
	runtime.Gosched()
}

// look rings the leaders whose bells have changed, and lists what to sleep on. left: a berth is
// left; rang: a leader was rung.
func (s *sentry) look(list *mem.Futexes) (left, rang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list.Reset()
	list.Add(&s.control, s.control.Load())
	s.listed = s.listed[:0]
	for _, b := range s.berths {
		if b.check() {
			rang = true
		}
		if !b.lost {
			list.Add(&b.slot.Bell, b.seen)
			s.listed = append(s.listed, b)
		}
	}
	return len(s.berths) > 0, rang
}

// lookAt rings the leader of a berth that is listed, if its bell has changed.
func (s *sentry) lookAt(i int) (rang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return i < len(s.listed) && s.listed[i].check()
}

// check rings the leader if the bell has changed, which it reports. The sentry's mu is held.
func (b *berth) check() (rang bool) {
	if b.lost {
		return false
	}
	bell := b.seen
	b.lost = b.m.Guard(func() { bell = b.slot.Bell.Load() }) != nil
	if bell == b.seen && !b.lost {
		return false
	}
	b.seen = bell
	b.ring() // a leader whose memory is lost finds that by itself
	if b.member != nil {
		b.member.group.push(b.member, false)
	}
	return true
}

func (b *berth) ring() {
	select {
	case b.rung <- struct{}{}:
	default:
	}
}

// ringFor is that of a doorbell.
func (b *berth) ringFor(w *waiter) {
	b.sentry.mu.Lock()
	defer b.sentry.mu.Unlock()
	b.member = w
}

// Leaders in berths that have long to sleep look together, perLook of them at a time. A thousand
// that wake one by one, ten times a second each, would keep a CPU busy; a thousand at once would
// keep those waiting that are rung.
const (
	perLook   = 40
	lookStep  = 4 * time.Millisecond // between the looks of two such groups
	lookEvery = Backstop             // between two looks of a group
)

// together returns a time of at most d at which the leader's group looks.
func (b *berth) together(d time.Duration) time.Duration {
	every := lookEvery
	if d < every {
		every /= 5
	}
	if d >= 2*every || every == lookEvery {
		d -= (clock() + d - b.phase + lookEvery) % every
	}
	return d
}

// sleep is that of a doorbell.
func (b *berth) sleep(seen uint32, d time.Duration) {
	b.slot.Sleeping.Store(1)
	step.Reach(step.WaitSleep)
	if b.slot.Bell.Load() == seen {
		d = b.together(d)
		if b.timer == nil {
			b.timer = time.NewTimer(d)
		} else {
			b.timer.Reset(d)
		}
		select {
		case <-b.rung:
		case <-b.timer.C:
		}
		b.timer.Stop()
	}
	b.slot.Sleeping.Store(0)
	step.Reach(step.WaitWoken)
}
