package limit

import (
	"context"
	"errors"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/kv"
)

// A State is a bucket in a map: that of one key of a [Keyed]. The zero value is a full bucket.
type State struct{ boot, full uint64 }

// A Keyed is a rate limit for each key of a map, such as the address of a client. Its methods are
// safe for concurrent use, by any number of processes.
//
// A key that is not in the map has a full bucket. So the map may forget keys: create it with
// kv.Options.Evict, and with room for more keys than are limited at a time, since a client whose
// bucket is forgotten begins anew.
type Keyed[K comparable] struct {
	m *kv.Map[K, State]
	l *Limiter // its rate and burst; it has no bucket
}

// NewKeyed returns a Keyed over a map. The bucket of each key is full with burst tokens, and r
// tokens come a second. See [New] for odd rates and bursts.
func NewKeyed[K comparable](m *kv.Map[K, State], r Limit, burst int) *Keyed[K] {
	return &Keyed[K]{m: m, l: New(new(Bucket), r, burst)}
}

// Allow reports whether a token of the key is there now, and takes it. If there is none, it changes
// nothing and takes no lock. Otherwise it waits for another process that changes this key or one
// that has the same lock, until ctx is done. The errors are those of kv.Map.Update.
func (k *Keyed[K]) Allow(ctx context.Context, key K) (bool, error) {
	return k.AllowN(ctx, key, time.Now(), 1)
}

// AllowN is Allow of n tokens at time t.
func (k *Keyed[K]) AllowN(ctx context.Context, key K, t time.Time, n int) (bool, error) {
	switch {
	case k.l.rate == Inf:
		return true, nil
	case n > k.l.burst || !k.l.valid:
		return false, nil
	}
	_, err := k.take(ctx, key, t, n, 0)
	if err == errWait {
		return false, nil
	}
	return err == nil, err
}

// Wait blocks until a token of the key is there, and takes it.
func (k *Keyed[K]) Wait(ctx context.Context, key K) error { return k.WaitN(ctx, key, 1) }

// WaitN blocks until n tokens of the key are there, and takes them; see [Limiter.WaitN]. If the map
// is closed meanwhile it returns shmem.ErrClosed when the tokens would be there.
func (k *Keyed[K]) WaitN(ctx context.Context, key K, n int) error {
	if err := errs.Context(ctx); err != nil {
		return k.fail(err)
	}
	switch {
	case k.l.rate == Inf:
		return nil
	case n > k.l.burst || !k.l.valid:
		return k.fail(k.l.errBurst(n))
	}
	now := time.Now()
	d, err := k.take(ctx, key, now, n, ticksLeft(ctx, now))
	var public *shmem.Error
	switch {
	case err == errWait:
		return k.fail(tooLate(n, d))
	case errors.As(err, &public):
		return err
	case err != nil:
		return k.fail(err)
	case d.wait <= 0:
		return nil
	}
	if err := sleep(ctx, time.Until(now.Add(nanos(d.wait))), nil); err != nil {
		k.giveBack(ctx, key, n, d)
		return k.fail(err)
	}
	_, _, err = k.m.Get(key)
	return err
}

func (k *Keyed[K]) fail(err error) error {
	return &shmem.Error{Op: "limit wait", Name: k.m.Name(), Err: err}
}

// take takes n tokens of a key that are there within a time, in ticks.
func (k *Keyed[K]) take(
	ctx context.Context, key K, t time.Time, n int, within int64,
) (d draw, err error) {
	cost, _ := costOf(max(n, 0), k.l.rate)
	now := ticks(t)
	decide := func(s State) error {
		if s.boot != sys.Boot() {
			s.full = 0 // it counts from another start of the machine
		}
		d = draws(s.full, now, cost, k.l.depth)
		if d.wait > within || int64(d.next-now) > maxTicks {
			return errWait
		}
		return nil
	}
	s, _, err := k.m.Get(key)
	if err == nil {
		err = decide(s)
	}
	if err != nil {
		return d, err
	}
	err = k.m.Update(ctx, key, func(s *State, _ bool) (keep bool, err error) {
		if err := decide(*s); err != nil {
			return true, err
		}
		*s = State{boot: sys.Boot(), full: d.next}
		return true, nil
	})
	return d, err
}

// giveBack puts the tokens of a draw into the bucket again, as Reservation.Cancel does. It does not
// wait for another process.
func (k *Keyed[K]) giveBack(done context.Context, key K, n int, d draw) {
	cost, _ := costOf(max(n, 0), k.l.rate)
	_ = k.m.Update(done, key, func(s *State, found bool) (keep bool, err error) {
		if after := int64(s.full - d.next); found && after >= 0 && after < cost {
			s.full -= uint64(cost - after)
		}
		return found, nil
	})
}
