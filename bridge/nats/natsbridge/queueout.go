package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
)

// A shipper sends the messages of a queue. It has each on a lease until the stream has accepted it.
type shipper struct {
	b           *Bridge
	r           *route
	q           messages
	fingerprint uint64
	me, inc     uint64
	way         chan shipment
}

// A shipment is a message on its way.
type shipment struct {
	loan   loan
	future jetstream.PubAckFuture
}

// queueOut sends a queue.
func (b *Bridge) queueOut(ctx context.Context, r *route, kv jetstream.KeyValue) error {
	inc, err := incarnation(b.o.Dir, r.segment)
	if err != nil {
		return err
	}
	q, err := attachMessages(b.o.Dir, r.segment)
	if err != nil {
		return err
	}
	defer func() { _ = q.close() }()
	s := &shipper{b: b, r: r, q: q, me: rand.Uint64(), inc: inc, fingerprint: bytesPrint}
	if err := same(b.o.Dir, r.segment, inc); err != nil {
		return err
	}
	if t := q.item(); t != nil {
		s.fingerprint = t.Fingerprint()
		if err := putSchema(ctx, kv, t); err != nil {
			return err
		}
	}
	session := ctx
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.way = make(chan shipment, b.o.Leases)
	var wg sync.WaitGroup
	wg.Go(func() { s.finish(ctx, session, stop) })
	r.stats.set("running", nil)
	err = s.ship(ctx)
	close(s.way)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return err
}

// ship puts messages on their way until an error.
func (s *shipper) ship(ctx context.Context) error {
	for {
		wait, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		l, err := s.q.take(wait)
		cancel()
		s.r.stats.moved()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = l.Back(0)
			}
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			continue
		case err == io.EOF || errors.Is(err, shmem.ErrUnlinked):
			sleep(ctx, 100*time.Millisecond)
			return errBegin
		case errors.Is(err, shmem.ErrBadOption):
			return fmt.Errorf("%w: %w", ErrRefused, err)
		case err != nil:
			return err
		}
		if l.Deliveries() > 1 {
			s.r.stats.redelivered.Add(1)
		}
		if err := s.put(l); err != nil {
			_ = l.Back(0)
			return err
		}
	}
}

// put puts one message on its way. If as many are on the way as there may be leases it waits.
func (s *shipper) put(l loan) error {
	f := frame{kind: codes[kindQueue], fingerprint: s.fingerprint, incarnation: s.inc,
		sequence: l.Position(), writer: s.me}
	b := l.Bytes()
	buf := append(f.append(make([]byte, 0, frameLen+len(b))), b...)
	m := &nats.Msg{Subject: s.r.subject(s.b.o.Prefix), Data: buf, Header: nats.Header{
		jetstream.MsgIDHeader: {fmt.Sprintf("%x.%x", s.inc, l.Position())},
	}}
	future, err := s.r.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0),
		jetstream.WithStallWait(look))
	if err != nil {
		return err
	}
	s.r.stats.sent.Add(1)
	s.r.stats.inFlight.Add(1)
	s.way <- shipment{l, future} // finish takes all, whatever becomes of them
	return nil
}

// ends waits for what is on its way when the bridge is stopped. It reports whether that was
// accepted.
func ends(f jetstream.PubAckFuture) bool {
	select {
	case <-f.Ok():
		return true
	case <-f.Err():
		return false
	}
}

// finish ends the leases: of what was accepted, and of what was not. When the bridge is stopped it
// waits for what is on its way. A future without an acknowledgement fails after look.
func (s *shipper) finish(ctx, session context.Context, stop context.CancelCauseFunc) {
	for x := range s.way {
		accepted := false
		select {
		case a := <-x.future.Ok():
			accepted = true
			if a.Duplicate {
				s.r.stats.duplicates.Add(1)
			}
		case err := <-x.future.Err():
			stop(err)
		case <-ctx.Done():
			accepted = session.Err() != nil && context.Cause(ctx) != errCut && ends(x.future)
		}
		s.r.stats.inFlight.Add(-1)
		if !accepted {
			_ = x.loan.Back(0)
			continue
		}
		s.r.stats.acked.Add(1)
		s.r.stats.moved()
		_ = x.loan.Done() // a lease that was ended is redelivered, and removed at the receiver
	}
}
