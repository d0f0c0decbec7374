package world

import "time"

// began is the simulated clock at the start of each run. It has a monotonic reading.
var began = time.Now()

// Now is the simulated time.
func Now() time.Time {
	if w == nil {
		return began
	}
	w.looks++
	return began.Add(time.Duration(w.now))
}

// ClockLooks is how often Now was called in this run.
func ClockLooks() int { return w.looks }

// Elapsed is the simulated time since the run began.
func Elapsed() time.Duration { return time.Duration(w.now) }

// Sleep parks the running thread for d.
func Sleep(d time.Duration) {
	Point()
	if w != nil && w.cur != nil {
		Note("sleeps for %v", d)
		Block(int64(d), Key{Kind: Sleeping})
	}
}

// A Timer is the core of time.Timer: at its time it calls f.
type Timer struct {
	at   int64 // 0: not running
	proc *Process
	f    func()
}

// NewTimer makes a timer of the running process that calls f after d.
func NewTimer(d time.Duration, f func()) *Timer {
	t := &Timer{proc: Current(), f: f}
	t.Reset(d)
	w.timers = append(w.timers, t)
	return t
}

// Reset starts the timer anew and reports whether it was running.
func (t *Timer) Reset(d time.Duration) bool {
	was := t.at > 0
	t.at = w.now + max(int64(d), 1)
	return was
}

// Stop ends the timer and reports whether it was running.
func (t *Timer) Stop() bool {
	was := t.at > 0
	t.at = 0
	return was
}

func (t *Timer) fire() {
	t.at = 0
	t.f()
}
