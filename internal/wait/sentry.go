package wait

import (
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
type sentry struct {
	control atomic.Uint32 // changes with the berths; a futex word

	mu     sync.Mutex
	berths []*berth // guarded by mu
}

// maxBerths leaves room for the control word.
const maxBerths = mem.MaxFutexes - 1

// haveSentries reports whether the kernel can sleep on several futexes.
var haveSentries = sync.OnceValue(mem.HaveFutexes)

// sentries are those of this process. Its mutex is taken before that of a sentry.
var sentries struct {
	mu  sync.Mutex
	all []*sentry // each has berths; guarded by mu
}

// A berth is the place of one mapping at a sentry.
type berth struct {
	sentry *sentry
	m      *mem.Mapping
	slot   *mem.Slot
	seen   uint32        // the bell when the sentry looked last; guarded by sentry.mu
	lost   bool          // the memory has faulted; guarded by sentry.mu
	rung   chan struct{} // holds one ring
	member *waiter       // leads without sleeping here; nil: none; guarded by sentry.mu
	timer  *time.Timer   // only the leader uses it
}

// joinSentry gives a mapping a berth. seen is the value of its bell for which the leader sleeps.
func joinSentry(m *mem.Mapping, slot *mem.Slot, seen uint32) *berth {
	b := &berth{m: m, slot: slot, seen: seen, rung: make(chan struct{}, 1)}
	sentries.mu.Lock()
	defer sentries.mu.Unlock()
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
	for s.look(&list) {
		if err := list.Sleep(); err != nil {
			time.Sleep(firstPoll) // the next look finds out why, or polls
		}
	}
}

// look rings the leaders whose bells have changed, and lists what to sleep on. It reports false if
// no berth is left.
func (s *sentry) look(list *mem.Futexes) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	list.Reset()
	list.Add(&s.control, s.control.Load())
	for _, b := range s.berths {
		if b.lost {
			continue
		}
		bell := b.seen
		b.lost = b.m.Guard(func() { bell = b.slot.Bell.Load() }) != nil
		if bell != b.seen || b.lost { // a leader whose memory is lost finds that by itself
			b.seen = bell
			b.ring()
			if b.member != nil {
				b.member.group.push(b.member, false)
			}
		}
		if !b.lost {
			list.Add(&b.slot.Bell, bell)
		}
	}
	return len(s.berths) > 0
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

// sleep is that of a doorbell.
func (b *berth) sleep(seen uint32, d time.Duration) {
	b.slot.Sleeping.Store(1)
	step.Reach(step.WaitSleep)
	if b.slot.Bell.Load() == seen {
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
