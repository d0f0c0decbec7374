package limit

import (
	"math"
	"time"

	"github.com/shmembox/shmem/internal/step"
)

// InfDuration is the Delay of a Reservation that is not OK.
const InfDuration = time.Duration(math.MaxInt64)

// A Reservation has taken tokens that may not be there yet: its holder acts after Delay, or calls
// Cancel. It is not safe for concurrent use.
type Reservation struct {
	l    *Limiter
	cost int64     // in ticks; 0: there is nothing to give back
	next uint64    // the time at which the bucket was to be full after it
	act  time.Time // when the tokens are there
	ok   bool
}

// Reserve is ReserveN of one token, now.
func (l *Limiter) Reserve() *Reservation { return l.ReserveN(time.Now(), 1) }

// ReserveN takes n tokens at time t, and returns when they are there. Later calls wait behind the
// reservation. The Reservation is not OK if n is more than the burst, or if the box is closed or
// attached read-only.
func (l *Limiter) ReserveN(t time.Time, n int) *Reservation {
	if l.rate == Inf {
		return &Reservation{l: l, act: t, ok: true}
	}
	d, err := l.take(t, n, maxTicks)
	if err != nil {
		return &Reservation{l: l}
	}
	return l.reservation(t, n, d)
}

// reservation returns the Reservation of a draw of n tokens at time t.
func (l *Limiter) reservation(t time.Time, n int, d draw) *Reservation {
	cost, _ := costOf(max(n, 0), l.rate)
	return &Reservation{
		l: l, cost: cost, next: d.next, act: t.Add(max(nanos(d.wait), 0)), ok: true,
	}
}

// OK reports whether the tokens are taken. If they are not, Delay returns InfDuration, and Cancel
// does nothing.
func (r *Reservation) OK() bool { return r.ok }

// Delay is DelayFrom now.
func (r *Reservation) Delay() time.Duration { return r.DelayFrom(time.Now()) }

// DelayFrom returns how long after t the holder of the reservation must wait before it acts. Zero
// means that it acts at once.
func (r *Reservation) DelayFrom(t time.Time) time.Duration {
	if !r.ok {
		return InfDuration
	}
	return max(r.act.Sub(t), 0)
}

// Cancel is CancelAt now.
func (r *Reservation) Cancel() { r.CancelAt(time.Now()) }

// CancelAt says at time t that the holder of the reservation will not act. The tokens are in the
// bucket again, except those that later reservations wait for: these keep their times. If the
// tokens were there by then CancelAt does nothing.
func (r *Reservation) CancelAt(t time.Time) {
	if !r.ok || r.cost == 0 || !r.act.After(t) || r.l.enter() != nil {
		return
	}
	defer r.l.leave()
	for {
		full := r.l.b.load()
		after := int64(full - r.next) // what was taken after it
		if after < 0 || after >= r.cost {
			break
		}
		if r.l.b.full.CompareAndSwap(full, full-uint64(r.cost-after)) {
			step.Reach(step.LimitCanceled)
			break
		}
	}
	r.cost = 0
}
