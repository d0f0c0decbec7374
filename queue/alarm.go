package queue

import (
	"slices"
	"sync"
	"time"
)

// An alarm calls a function when messages come due. All times share one goroutine, which ends when
// none is left, or when the queue closes.
type alarm struct {
	mu      sync.Mutex
	began   time.Time       // that times count from
	times   []time.Duration // in order, each once; guarded by mu
	runs    bool            // the goroutine does; guarded by mu
	earlier chan struct{}   // the first time has changed
}

const (
	// alarmUnit is what times are rounded up to, so that one serves many messages.
	alarmUnit = time.Millisecond
	// maxAlarms bounds the times. The last ones are left out: calls that wait look for messages
	// that have come due at least every 100 ms by themselves.
	maxAlarms = 1024
)

// set makes the alarm call ring after a delay, and a little later.
func (a *alarm) set(delay time.Duration, closing <-chan struct{}, ring func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.earlier == nil {
		a.began, a.earlier = time.Now(), make(chan struct{}, 1)
	}
	t := (time.Since(a.began) + delay).Truncate(alarmUnit) + 2*alarmUnit
	i, found := slices.BinarySearch(a.times, t)
	if found || i == maxAlarms {
		return
	}
	a.times = slices.Insert(a.times, i, t)
	a.times = a.times[:min(len(a.times), maxAlarms)]
	switch {
	case !a.runs:
		a.runs = true
		go a.run(closing, ring)
	case i == 0:
		select {
		case a.earlier <- struct{}{}:
		default:
		}
	}
}

// run calls ring at each of the times.
func (a *alarm) run(closing <-chan struct{}, ring func()) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		delay, due, ok := a.next()
		switch {
		case !ok:
			return
		case due:
			ring()
			continue
		}
		t.Reset(delay)
		select {
		case <-t.C:
		case <-a.earlier:
		case <-closing:
			return
		}
	}
}

// next removes the times that have come, and reports whether there were any. Else it returns how
// long the first one is away; ok is false if there is none: the goroutine ends then.
func (a *alarm) next() (delay time.Duration, due, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Since(a.began)
	n := 0
	for n < len(a.times) && a.times[n] <= now {
		n++
	}
	a.times = slices.Delete(a.times, 0, n)
	switch {
	case n > 0:
		return 0, true, true
	case len(a.times) == 0:
		a.runs = false
		return 0, false, false
	}
	return a.times[0] - now, false, true
}
