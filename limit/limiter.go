package limit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
)

// ErrBurst is returned by Wait and WaitN when more tokens are asked for than the bucket ever holds.
// The other errors are shmem.ErrClosed when the box was closed, shmem.ErrReadOnly, that of the
// context when it is done, and context.DeadlineExceeded when its deadline comes before the tokens.
var ErrBurst = errors.New("more tokens than the bucket holds")

// A Limit is how many tokens come a second. Nothing is allowed by zero, a negative number, NaN, and
// a Limit at which the bucket takes more than a year to fill.
type Limit float64

// Inf is the infinite rate: everything is allowed, whatever the burst is. The infinity of package
// math is Inf too.
const Inf = Limit(math.MaxFloat64)

// Every returns the Limit of one token in each interval. It returns Inf if the interval is not
// positive.
func Every(interval time.Duration) Limit {
	if interval <= 0 {
		return Inf
	}
	return Limit(float64(time.Second) / float64(interval))
}

// A Limiter is this process's way to a Bucket. Its methods are safe for concurrent use, by any
// number of processes.
//
// When the box is closed nothing is allowed any more: Allow reports false, and Wait returns
// shmem.ErrClosed. The same is true of a box that is attached read-only, with shmem.ErrReadOnly.
type Limiter struct {
	b     *Bucket
	m     *mem.Mapping // nil: ordinary memory
	rate  Limit
	burst int
	depth int64 // the ticks in which an empty bucket fills, see depthOf
	valid bool  // the rate is one at which it fills
}

// New returns a Limiter over a bucket, which is full with burst tokens; r tokens come a second. A
// burst below 1 allows nothing, unless r is Inf. The bucket is part of a box of this process, or
// ordinary memory.
func New(b *Bucket, r Limit, burst int) *Limiter {
	if r > Inf {
		r = Inf
	}
	l := &Limiter{b: b, m: mem.Of(b), rate: r, burst: max(burst, 0)}
	l.depth, l.valid = depthOf(l.burst, r)
	return l
}

// Limit returns the rate.
func (l *Limiter) Limit() Limit { return l.rate }

// Burst returns how many tokens the bucket holds when it is full.
func (l *Limiter) Burst() int { return l.burst }

// enter pins the bucket's memory.
func (l *Limiter) enter() error {
	switch {
	case l.m == nil:
		return nil
	case !l.m.Retired() && !l.m.Writable():
		return errs.ReadOnly
	case l.m.Retired() || !l.m.Pin():
		return errs.NamedClosed("segment of the limit")
	}
	return nil
}

func (l *Limiter) leave() {
	if l.m != nil {
		l.m.Unpin()
	}
}

// Allow reports whether a token is there now, and takes it.
func (l *Limiter) Allow() bool { return l.AllowN(time.Now(), 1) }

// AllowN reports whether n tokens are there at time t, and takes them. If fewer are there it takes
// none. A negative n counts as 0, here and in the other methods.
func (l *Limiter) AllowN(t time.Time, n int) bool {
	if l.rate == Inf {
		return true
	}
	_, err := l.take(t, n, 0)
	return err == nil
}

// Tokens returns how many tokens are there now. It is negative by those that are reserved and have
// not come yet. After Close it is 0.
func (l *Limiter) Tokens() float64 { return l.TokensAt(time.Now()) }

// TokensAt is Tokens at time t.
func (l *Limiter) TokensAt(t time.Time) float64 {
	switch {
	case l.rate == Inf:
		return math.MaxFloat64
	case !l.valid || l.enter() != nil:
		return 0
	}
	defer l.leave()
	d := draws(l.b.load(), ticks(t), 0, l.depth)
	tokens := float64(-d.wait) / (float64(time.Second) * ticksPerNano) * float64(l.rate)
	return min(tokens, float64(l.burst))
}

// errWait is the cause when the tokens come too late.
var errWait = errors.New("the tokens come too late")

// take takes n tokens that are there within a time, in ticks.
func (l *Limiter) take(t time.Time, n int, within int64) (draw, error) {
	if n > l.burst || !l.valid {
		return draw{}, l.errBurst(n)
	}
	cost, _ := costOf(max(n, 0), l.rate)
	if err := l.enter(); err != nil {
		return draw{}, err
	}
	defer l.leave()
	for now := ticks(t); ; {
		full := l.b.load()
		d := draws(full, now, cost, l.depth)
		if d.wait > within || int64(d.next-now) > maxTicks {
			return d, errWait
		}
		if l.b.full.CompareAndSwap(full, d.next) {
			step.Reach(step.LimitTaken)
			return d, nil
		}
	}
}

func (l *Limiter) errBurst(n int) error {
	if !l.valid {
		return fmt.Errorf("%w: at %v tokens a second it takes more than a year to fill; "+
			"use a higher rate", ErrBurst, float64(l.rate))
	}
	return fmt.Errorf("%w: %d of %d; ask for fewer, or create the limiter with a larger burst",
		ErrBurst, n, l.burst)
}

// fail returns the error of Wait.
func (l *Limiter) fail(err error) error {
	e := &shmem.Error{Op: "limit wait", Err: err}
	if l.m != nil {
		e.Name = l.m.Name()
	}
	return e
}

// Wait blocks until a token is there, and takes it.
func (l *Limiter) Wait(ctx context.Context) error { return l.WaitN(ctx, 1) }

// WaitN blocks until n tokens are there, and takes them. Waiters get their tokens in the order of
// their calls, whichever process they are in. If ctx has a deadline before the tokens are there,
// WaitN returns context.DeadlineExceeded at once, and takes none. If ctx is done while it waits,
// the tokens are in the bucket again as after [Reservation.Cancel].
func (l *Limiter) WaitN(ctx context.Context, n int) error {
	if err := errs.Context(ctx); err != nil {
		return l.fail(err)
	}
	if l.rate == Inf {
		return nil
	}
	now := time.Now()
	d, err := l.take(now, n, ticksLeft(ctx, now))
	if err == errWait {
		err = tooLate(n, d)
	}
	if err != nil {
		return l.fail(err)
	}
	if d.wait <= 0 {
		return nil
	}
	r := l.reservation(now, n, d)
	var closing <-chan struct{}
	if l.m != nil {
		closing = l.m.Closing()
	}
	if err := sleep(ctx, r.Delay(), closing); err != nil {
		r.Cancel()
		return l.fail(err)
	}
	return nil
}

// ticksLeft returns the ticks from now to the deadline of a context.
func ticksLeft(ctx context.Context, now time.Time) int64 {
	if deadline, ok := ctx.Deadline(); ok {
		if left := deadline.Sub(now); left < maxTicks/ticksPerNano {
			return int64(max(left, 0)) * ticksPerNano
		}
	}
	return maxTicks
}

// tooLate is the cause where the tokens are there after the deadline.
func tooLate(n int, d draw) error {
	return &errs.Worded{
		Text: fmt.Sprintf("%d tokens are there in %v, after the context's deadline",
			n, nanos(d.wait)),
		Sentinel: context.DeadlineExceeded,
	}
}

// sleep waits for the time, the context or Close.
func sleep(ctx context.Context, d time.Duration, closing <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-closing:
		return errs.NamedClosed("segment of the limit")
	}
}
