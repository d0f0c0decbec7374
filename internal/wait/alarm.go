package wait

import (
	"sync/atomic"
	"time"
)

// An alarm rings a waiter. It stays set when the wait ends: the next wait of the waiter finds it
// set, or is rung for nothing. So waits that end soon do not use the timers of the runtime.
type alarm struct {
	timer *time.Timer  // nil: not made yet; only the waiter's goroutine uses it
	at    atomic.Int64 // when it rings, by clock; 0: it is not set
}

// set makes the alarm ring w after d, or sooner.
func (a *alarm) set(w *waiter, d, now time.Duration) {
	if at := time.Duration(a.at.Load()); at > now && at <= now+d {
		return
	}
	a.at.Store(int64(now + d))
	if a.timer != nil {
		a.timer.Reset(d)
		return
	}
	a.timer = time.AfterFunc(d, func() {
		a.at.Store(0)
		select { // w may be that of a later wait
		case w.signal <- struct{}{}:
		default:
		}
	})
}
