package rpc

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/calls"
	"github.com/shmembox/shmem/internal/wait"
)

// A crew is the goroutines that run the handlers of a service. One of them has the watch: it alone
// waits for calls, and takes them. It sleeps in the kernel itself, so that a call wakes one thread
// and no other goroutine.
//
// With a call it does one of two things. If handlers have been quick lately, it keeps the watch and
// runs the handler. Else it passes the watch to another goroutine first. A handler that turns out
// not to be quick is found by the standby, which passes the watch meanwhile:
//
//  1. The one on watch makes at odd, and runs the handler.
//  2. It changes at back by a compare-and-swap, and goes on. If that fails it has lost the watch.
//  3. The standby looks at intervals. If at is odd, and is what it was at the last look, it changes
//     at by a compare-and-swap, and passes the watch.
type crew struct {
	lead *wait.Lead // of the one on watch
	done sync.WaitGroup
	busy atomic.Int32 // handlers that run
	full atomic.Bool  // the one on watch waits until fewer handlers run

	mu      sync.Mutex
	resting []chan struct{} // of goroutines without a call; guarded by mu

	at     atomic.Uint64 // odd: the one on watch runs a handler
	quick  atomic.Int32  // quick handlers in a row, up to trusted; less than 0 after others
	last   atomic.Int64  // when the last handler returned, since started
	kick   chan struct{} // wakes the standby
	awake  atomic.Bool   // the standby looks
	owed   [maxOwed]*atomic.Uint32
	owing  int // armed words of clients that are to be woken; of the one on watch, as owed
	claims int // likewise
}

const (
	maxOwed  = 8
	distrust = -32                    // after a handler that was not quick
	isQuick  = 100 * time.Microsecond // handlers up to this one are quick
	isBusy   = time.Millisecond       // handlers run on watch while calls come at least so often
	lookTime = 200 * time.Microsecond // between two looks of the standby
	lastLook = 5                      // looks without a call before the standby sleeps
)

var started = time.Now()

// trusted is how many quick handlers in a row let the one on watch run the next one. The simulator
// changes it.
var trusted int32 = 8

// begin starts the crew.
func (s *service) begin() {
	c := &s.crew
	c.lead, c.kick = wait.NewLead(s.M), make(chan struct{}, 1)
	c.done.Go(s.standby)
	c.done.Go(s.work)
}

// pass lets another goroutine have the watch.
func (s *service) pass() {
	c := &s.crew
	c.mu.Lock()
	n := len(c.resting) - 1
	if n < 0 {
		c.mu.Unlock()
		c.done.Go(s.work)
		return
	}
	next := c.resting[n]
	c.resting = c.resting[:n]
	c.mu.Unlock()
	next <- struct{}{}
}

// work has the watch until it loses it, then rests until it has it again.
func (s *service) work() {
	c := &s.crew
	turn := make(chan struct{}, 1)
	for s.watch() {
		c.mu.Lock()
		c.resting = append(c.resting, turn)
		c.mu.Unlock()
		select {
		case <-turn:
		case <-s.taking.Done():
			return
		}
	}
}

// watch takes calls. It reports false when the service ends, and true when another goroutine has
// the watch.
func (s *service) watch() bool {
	c := &s.crew
	for s.taking.Err() == nil {
		if c.busy.Load() >= s.handlers {
			s.flush()
			if !s.waitForHandler() {
				return false
			}
			continue
		}
		i, w, ok := s.t.Claim(s.Self)
		if !ok {
			s.flush()
			err := wait.Until(s.taking, s.M, &s.header.ReadyArmed, s.t.AnyReady,
				wait.Options{Alike: true, Lead: c.lead})
			if err != nil {
				return false
			}
			continue
		}
		c.busy.Add(1)
		if c.claims++; c.claims%16 == 0 {
			c.lead.Attend()
		}
		if s.t.AnyReady() {
			wait.WakeN(s.M, &s.header.ReadyArmed, 1)
		}
		if !s.take(i, w) {
			return true
		}
	}
	s.flush()
	if s.t.AnyReady() { // the caller may have been woken for it
		wait.WakeN(s.M, &s.header.ReadyArmed, 1)
	}
	return false
}

// take runs the handler of a call. It reports false if the caller has lost the watch.
func (s *service) take(i int, w calls.Word) bool {
	c := &s.crew
	now := time.Since(started)
	if s.streams || c.quick.Load() < trusted || now-time.Duration(c.last.Load()) > isBusy {
		s.flush()
		s.pass()
		returned := false
		defer s.exited(i, w, 0, now, &returned)
		if s.handle(i, w) {
			wait.Wake(s.M, &s.t.Slot(i).Armed)
		}
		returned = true
		s.over(now)
		return false
	}
	at := c.at.Add(1)
	returned := false
	defer s.exited(i, w, at, now, &returned)
	if s.taking.Err() != nil {
		s.forsake(at) // the standby may be gone
	}
	if !c.awake.Load() && c.awake.CompareAndSwap(false, true) {
		c.kick <- struct{}{}
	}
	replied := s.handle(i, w)
	returned = true
	mine := c.at.CompareAndSwap(at, at+1)
	if armed := &s.t.Slot(i).Armed; replied && mine {
		c.owed[c.owing] = armed
		c.owing++
		if c.owing == maxOwed {
			s.flush()
		}
	} else if replied {
		wait.Wake(s.M, armed)
	}
	s.over(now)
	return mine
}

// exited ends the call of a handler that has ended its goroutine, and lets another goroutine go on
// in its place. Deferred functions of the handler have run, so the slot is free to be used. at is
// that of the crew if the goroutine has the watch, else 0. A handler that panics ends the process.
func (s *service) exited(i int, w calls.Word, at uint64, began time.Duration, returned *bool) {
	if *returned {
		return
	}
	if r := recover(); r != nil {
		panic(r)
	}
	if s.finish(i, w, errExited) {
		wait.Wake(s.M, &s.t.Slot(i).Armed)
	}
	if at != 0 && s.crew.at.CompareAndSwap(at, at+1) {
		s.flush()
		s.pass()
	}
	s.over(began)
}

// forsake ends the watch during a handler, when no more calls are taken: no reply waits for it. at
// is that of the crew.
func (s *service) forsake(at uint64) {
	if at&1 == 1 && s.crew.at.CompareAndSwap(at, at+1) {
		s.flush()
	}
}

// over counts a handler that has returned, and began at a time since started.
func (s *service) over(began time.Duration) {
	c := &s.crew
	now := time.Since(started)
	c.last.Store(int64(now))
	if q := c.quick.Load(); now-began > isQuick {
		c.quick.Store(distrust)
	} else if q < trusted {
		c.quick.Store(q + 1)
	}
	c.busy.Add(-1)
	if c.full.Load() {
		wait.RingOwn(s.M)
	}
}

// flush wakes the clients whose replies are there. The caller has the watch.
func (s *service) flush() {
	c := &s.crew
	if c.owing > 0 {
		wait.WakeEach(s.M, c.owed[:c.owing])
		c.owing = 0
	}
}

// waitForHandler waits until another handler may run. It reports false when the service ends.
func (s *service) waitForHandler() bool {
	c := &s.crew
	c.full.Store(true)
	defer c.full.Store(false)
	ready := func() bool { return c.busy.Load() < s.handlers }
	return wait.Until(s.taking, s.M, &s.header.CancelArmed, ready,
		wait.Options{NoSpin: true, Lead: c.lead}) == nil
}

// standby passes the watch when the one on watch runs a handler for long.
func (s *service) standby() {
	c := &s.crew
	defer func() { s.forsake(c.at.Load()) }()
	timer := time.NewTimer(lookTime)
	defer timer.Stop()
	for {
		select {
		case <-c.kick:
		case <-s.taking.Done():
			return
		}
		for was, idle := c.at.Load(), 0; idle < lastLook; {
			timer.Reset(lookTime)
			select {
			case <-timer.C:
			case <-s.taking.Done():
				return
			}
			at := c.at.Load()
			switch {
			case at != was:
				idle = 0
			case at&1 == 0:
				idle++
			case c.at.CompareAndSwap(at, at+1):
				c.quick.Store(distrust)
				s.flush()
				s.pass()
			}
			if was = at; idle == lastLook {
				c.awake.Store(false)
				if c.at.Load() != at && c.awake.CompareAndSwap(false, true) {
					idle = 0
				}
			}
		}
	}
}
