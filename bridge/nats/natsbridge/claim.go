package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem/bridge/nats/internal/at"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
)

// claimCode is the kind in the frame of a claim.
const claimCode = 20

var (
	beatEvery  = 2 * time.Second // how often a bridge that sends says so; tests change it
	staleAfter = 3 * beatEvery   // after which silence a mirror counts as stale
)

// A claim is a key that names the bridge that sends a route, and says every beatEvery that it
// lives. The bridge that claims a route last has it: the next beat of another one fails, idle or
// not. A queue has no claim, since several bridges may send it; its key says that one of them
// lives.
type claim struct {
	r        *route
	kv       jetstream.KeyValue
	me       uint64 // of this bridge and route, while it runs
	revision uint64 // of the key as this bridge wrote it; 0: never
	bucket   uint64 // when the bucket of that revision was created
	beats    uint64
	missed   int // beats in a row at which something was missing
}

// A proof reports whether the server has what this bridge has put there. An error that is not one
// of the context says that it has not.
type proof func(ctx context.Context) (bool, error)

// liveKey is the key of a route's claim.
func (r *route) liveKey() string { return "live." + r.kind + "." + r.name }

// A sending is what a route does that sends.
type sending struct {
	schema *format.Type                // what the bucket is to have; nil: bytes have none
	before func(context.Context) error // done while the route is claimed; nil: nothing
	run    func(context.Context) error // ends with its context
	proofs []proof
}

// claimed runs a sending while the route is this bridge's. An error ErrOtherWriter says that
// another bridge has claimed it later. A proof that fails ends it with errBegin: a bucket that was
// purged, or made anew, says nothing of it.
func (b *Bridge) claimed(
	ctx context.Context, r *route, kv jetstream.KeyValue, s sending,
) error {
	c := &r.claim
	c.r, c.kv, c.missed = r, kv, 0
	first := []func(context.Context) error{c.begin}
	if s.schema != nil {
		first = append(first, func(ctx context.Context) error {
			return putSchema(ctx, kv, s.schema)
		})
		s.proofs = append(s.proofs, hasSchema(kv, s.schema.Fingerprint()))
	}
	if s.before != nil {
		first = append(first, s.before)
	}
	if err := together(ctx, first...); err != nil {
		return err
	}
	step.Reach(at.Claimed)
	mine, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.keep(mine, stop, s.proofs)
	}()
	err := s.run(mine)
	cause := context.Cause(mine)
	stop(nil)
	<-ended
	if errors.Is(cause, ErrOtherWriter) || errors.Is(cause, errBegin) {
		return cause
	}
	if wrongLast(err) { // an acknowledgement that was lost, or another bridge: the claim tells
		if err = c.check(ctx); err == nil {
			err = errBegin
		}
	}
	return err
}

// begin claims the route, or finds out whether it is this bridge's still.
func (c *claim) begin(ctx context.Context) error {
	if c.me == 0 {
		c.me = rand.Uint64() | 1
	}
	switch {
	case c.r.kind == kindQueue:
		return c.beat(ctx)
	case c.revision != 0:
		return c.check(ctx)
	}
	return c.put(ctx)
}

// put claims the route, which another bridge may have.
func (c *claim) put(ctx context.Context) (err error) {
	if c.bucket, err = bucketCreated(ctx, c.kv); err != nil {
		return err
	}
	c.revision, err = c.kv.Put(ctx, c.r.liveKey(), c.frame())
	return err
}

func (c *claim) frame() []byte {
	c.beats++
	return (&frame{kind: claimCode, sequence: c.beats, writer: c.me}).append(nil)
}

// keep says every beatEvery that the route is this bridge's, until ctx is done.
func (c *claim) keep(ctx context.Context, stop context.CancelCauseFunc, proofs []proof) {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := c.beat(ctx)
		if err == nil || !errors.Is(err, ErrOtherWriter) {
			err = c.prove(ctx, proofs)
		}
		if err != nil {
			stop(err)
			return
		}
		step.Reach(at.Beat)
	}
}

// beat writes the key once more. Any other error than ErrOtherWriter is one of the connection.
func (c *claim) beat(ctx context.Context) error {
	if c.r.kind == kindQueue {
		_, err := c.kv.Put(ctx, c.r.liveKey(), c.frame())
		return err
	}
	revision, err := c.kv.Update(ctx, c.r.liveKey(), c.frame(), c.revision)
	switch {
	case err == nil:
		c.revision = revision
	case wrongLast(err):
		return c.check(ctx)
	}
	return err
}

// prove returns errBegin if a proof has failed at two beats: a server that lags behind catches up.
func (c *claim) prove(ctx context.Context, proofs []proof) error {
	for _, has := range proofs {
		ok, err := has(ctx)
		switch {
		case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded),
			errors.Is(err, nats.ErrTimeout):
			return nil // it is not known
		case err == nil && ok:
			continue
		}
		if c.missed++; c.missed >= 2 {
			return errBegin
		}
		return nil
	}
	c.missed = 0
	return nil
}

// check reads whether the route is this bridge's. A server that lags behind may return an older
// claim than that of this bridge: it is asked again.
func (c *claim) check(ctx context.Context) error {
	for range 50 {
		e, err := c.kv.Get(ctx, c.r.liveKey())
		if errors.Is(err, jetstream.ErrKeyNotFound) { // the bucket was made anew
			return c.put(ctx)
		}
		if err != nil {
			return err
		}
		f, _, err := parseFrame(claimCode, e.Value())
		switch {
		case err == nil && f.writer == c.me:
			c.revision = e.Revision()
			return nil
		case e.Revision() > c.revision:
			return fmt.Errorf("%w: claim %d", ErrOtherWriter, e.Revision())
		}
		created, err := bucketCreated(ctx, c.kv)
		if err != nil {
			return err
		}
		if created != c.bucket { // it was made anew, and has forgotten the claim of this bridge
			return fmt.Errorf("%w: claim %d of a new bucket", ErrOtherWriter, e.Revision())
		}
		sleep(ctx, 100*time.Millisecond)
	}
	return errBegin
}

// follow notes the beats of the bridge that sends a route which comes in, until ctx is done.
func (b *Bridge) follow(ctx context.Context, r *route, kv jetstream.KeyValue) {
	w, err := kv.Watch(ctx, r.liveKey())
	if err != nil {
		if ctx.Err() != nil {
			return
		}
		b.o.Logger.Warn("the origin cannot be watched", "route", r.String(), "error", err)
		return
	}
	defer func() { _ = w.Stop() }()
	fresh := false
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return
			case e == nil: // what follows is new
				fresh = true
			case fresh:
				r.stats.origin.Store(time.Now().UnixNano())
			default: // how old it is only the server's clock says
				r.stats.origin.Store(min(e.Created().UnixNano(), time.Now().UnixNano()))
			}
		}
	}
}
