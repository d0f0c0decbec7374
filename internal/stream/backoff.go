package stream

import (
	"context"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/errs"
)

// Patience is how often a call tries before it sleeps between tries. More tries than that happen
// only under extreme contention, or where a peer scribbles over the ring.
const Patience = 256

// A quickTry is the longest time that one of the Patience tries takes on average. Tries that took
// longer have waited in between, so the count begins anew.
const quickTry = 10 * time.Microsecond

// A Backoff counts the tries of one call. The zero value is ready.
type Backoff struct {
	tries int
	since time.Time // when the count began
}

// A Repairer frees what dead processes hold.
type Repairer interface{ RepairIfDue() bool }

// Pause comes before another try of a call that may block. The first Patience tries follow each
// other at once. After that Pause returns the context's error or ErrClosed, or it repairs and
// sleeps: 1 µs, then 1 µs longer each time, up to 1 ms.
func (b *Backoff) Pause(ctx context.Context, a *Attachment, r Repairer) error {
	if b.tries++; b.tries < Patience {
		return nil
	}
	if err := errs.Context(ctx); err != nil {
		return err
	}
	if a.M.Closed() {
		return shmem.ErrClosed
	}
	if now := time.Now(); now.Sub(b.since) > Patience*quickTry {
		b.tries, b.since = 0, now
		return nil
	}
	r.RepairIfDue()
	time.Sleep(min(time.Duration(b.tries-Patience+1)*time.Microsecond, time.Millisecond))
	return nil
}
