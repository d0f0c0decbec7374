package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/internal/at"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/queue"
)

// A shipper sends the messages of a queue. It has each on a lease until the stream has accepted it.
type shipper struct {
	b           *Bridge
	r           *route
	q           messages
	fingerprint uint64
	me, inc     uint64
	pipe        *pipe
	buf         []byte
	next        loan // taken, for the next frame; nil: none

	mu  sync.Mutex
	way map[uint64][]loan // by the number of their frame; guarded by mu
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
	s := &shipper{b: b, r: r, q: q, me: rand.Uint64(), inc: inc, fingerprint: bytesPrint,
		way: map[uint64][]loan{}}
	if err := same(b.o.Dir, r.segment, inc); err != nil {
		return err
	}
	t := q.item()
	if t != nil {
		s.fingerprint = t.Fingerprint()
		if err := b.tooLarge(messageLen + t.Size); err != nil {
			return err
		}
	}
	return b.claimed(ctx, r, kv, sending{schema: t, run: s.run})
}

// run sends the queue until an error.
func (s *shipper) run(session context.Context) error {
	b, r := s.b, s.r
	ctx, stop := context.WithCancelCause(session)
	defer stop(nil)
	p, end, err := newPipe(ctx, b.nc, r.subject(b.o.Prefix), r.stream(b.o.Prefix), b.o.Leases,
		s.accepted, stop)
	if err != nil {
		return err
	}
	s.pipe = p
	r.stats.set("running", nil)
	err = s.ship(ctx)
	if session.Err() != nil && context.Cause(ctx) != errCut { // the bridge is stopped
		p.drain()
	}
	end()
	s.giveUp()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return err
}

// ship puts messages on their way until an error.
func (s *shipper) ship(ctx context.Context) error {
	for {
		room := s.pipe.room()
		if room == 0 {
			return ctx.Err()
		}
		loans, err := s.take(ctx, room)
		s.r.stats.turned()
		if len(loans) > 0 && (err == nil || errors.Is(err, context.DeadlineExceeded)) &&
			ctx.Err() == nil {
			if err := s.put(loans); err != nil {
				return err
			}
			continue
		}
		for _, l := range loans {
			_ = l.Back(0)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
		case err == io.EOF || errors.Is(err, shmem.ErrUnlinked):
			sleep(ctx, 100*time.Millisecond)
			return errBegin
		case errors.Is(err, shmem.ErrBadOption):
			return fmt.Errorf("%w: the bridge keeps a message on a lease until the stream has it, "+
				"and a Single queue has no leases; create the queue without Single", ErrRefused)
		default:
			return err
		}
	}
}

// take waits for a message, and takes all that are there: as many as go into one frame. A part of
// the leases is left for the next frame, so that one is on its way while another one is filled.
func (s *shipper) take(ctx context.Context, room int) (loans []loan, err error) {
	wait, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	l := s.next
	if s.next = nil; l == nil {
		l, err = s.q.take(wait)
	}
	size, pack := frameLen, min(s.b.o.Pack, s.b.maxFrame())
	for err == nil {
		if s.b.tooLarge(messageLen+len(l.Bytes())) != nil {
			s.hold(l)
			if len(loans) > 0 {
				return loans, nil
			}
			l, err = s.q.take(wait)
			continue
		}
		size += messageLen + len(l.Bytes())
		if len(loans) > 0 && size > pack {
			s.next = l
			return loans, nil
		}
		if loans = append(loans, l); len(loans) >= min(room, s.b.o.Leases/4) {
			return loans, nil
		}
		l, err = s.q.take(stream.Try{})
	}
	if len(loans) > 0 && errors.Is(err, queue.ErrEmpty) {
		err = nil
	}
	return loans, err
}

// largeFor is for how long a message that the server does not take stays in the queue, before it is
// redelivered: by then the server may take more. Tests change it.
var largeFor = 5 * time.Second

// hold returns a message that is larger than the server takes. Others go on.
func (s *shipper) hold(l loan) {
	err := s.b.tooLarge(messageLen + len(l.Bytes()))
	if l.Deliveries() <= 1 {
		s.r.stats.poison.Add(1)
	}
	s.b.o.Logger.Warn("a message stays in its queue", "route", s.r.String(),
		"position", l.Position(), "error", err)
	_ = l.Back(largeFor)
}

// put puts the messages of a frame on their way. One alone has an id, by which the server removes
// duplicates; the frame of several is rarely filled in the same way again.
func (s *shipper) put(loans []loan) error {
	step.Reach(at.QueueOutTaken)
	f := frame{kind: codes[kindQueue], fingerprint: s.fingerprint, incarnation: s.inc,
		sequence: loans[0].Position(), writer: s.me}
	id := ""
	if len(loans) > 1 {
		f.kind = packed
	} else {
		id = fmt.Sprintf("%x.%x", s.inc, f.sequence)
	}
	s.buf = f.append(s.buf[:0])
	for _, l := range loans {
		if l.Deliveries() > 1 {
			s.r.stats.redelivered.Add(1)
		}
		if len(loans) > 1 {
			s.buf = appendMessage(s.buf, l.Position(), l.Bytes())
		} else {
			s.buf = append(s.buf, l.Bytes()...)
		}
	}
	s.mu.Lock()
	s.way[s.pipe.number()] = loans
	s.mu.Unlock()
	if err := s.pipe.put(s.buf, len(loans), jetstream.MsgIDHeader, id); err != nil {
		return err
	}
	s.r.stats.sent.Add(int64(len(loans)))
	s.r.stats.inFlight.Add(int64(len(loans)))
	step.Reach(at.QueueOutSent)
	return nil
}

// accepted ends the leases of a frame that the stream has.
func (s *shipper) accepted(n uint64, duplicate bool) {
	step.Reach(at.QueueOutAccepted)
	s.mu.Lock()
	loans := s.way[n]
	delete(s.way, n)
	s.mu.Unlock()
	for _, l := range loans {
		_ = l.Done() // a lease that was ended is redelivered, and removed at the receiver
		step.Reach(at.QueueOutDone)
	}
	if duplicate {
		s.r.stats.duplicates.Add(int64(len(loans)))
	}
	s.r.stats.acked.Add(int64(len(loans)))
	s.r.stats.inFlight.Add(-int64(len(loans)))
	s.r.stats.moved()
}

// giveUp returns the messages of which it is not known that the stream has them.
func (s *shipper) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, loans := range s.way {
		for _, l := range loans {
			_ = l.Back(0)
		}
	}
	clear(s.way)
	if s.next != nil {
		_ = s.next.Back(0)
	}
}
