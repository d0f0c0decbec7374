package natsbridge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/stream"
)

const (
	window = 512             // frames of a topic that are on the way at most
	look   = 5 * time.Second // how long a publish may take before the route begins anew
)

// A sender sends a topic to its stream, each frame on condition that the one before is the last of
// the stream. So the stream is a prefix of the topic; what fails is sent again from the ring.
type sender struct {
	b       *Bridge
	r       *route
	t       *stream.Topic
	sub     *stream.Subscription
	me, inc uint64
	last    uint64 // sequence in the stream
	lost    uint64 // of the incarnation, before this subscription
	counted uint64 // of the subscription's losses
	futures chan jetstream.PubAckFuture
}

// topicOut sends a topic.
func (b *Bridge) topicOut(ctx context.Context, r *route, kv jetstream.KeyValue) error {
	inc, err := incarnation(b.o.Dir, r.segment)
	if err != nil {
		return err
	}
	t, err := stream.OpenTopic(stream.Plan{
		Op: "topic attach", Name: r.segment, Mode: stream.Attach,
		Options: &shmem.Options{Dir: b.o.Dir, Passive: true},
	}, nil, 0, 0)
	if err != nil {
		return refusedType(err)
	}
	defer t.Close()
	s := &sender{b: b, r: r, t: t, me: rand.Uint64(), inc: inc}
	if err := same(b.o.Dir, r.segment, inc); err != nil {
		return err
	}
	if err := putSchema(ctx, kv, t.Layout.Item); err != nil {
		return err
	}
	from, err := s.resume(ctx)
	if err != nil {
		return err
	}
	if s.sub, err = t.Subscribe(from, stream.NoHold); err != nil {
		return err
	}
	defer s.sub.Close()
	r.stats.set("running", nil)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.futures = make(chan jetstream.PubAckFuture, window)
	done := make(chan struct{})
	go func() { defer close(done); s.acknowledge(ctx, stop) }()
	err = s.send(ctx)
	close(s.futures)
	<-done
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if wrongLast(err) { // an acknowledgement that was lost, or another bridge: resume tells
		return errBegin
	}
	return err
}

// resume returns where to begin: behind the last frame of the stream.
func (s *sender) resume(ctx context.Context) (from stream.Start, err error) {
	js, err := s.b.js.Stream(ctx, s.r.stream(s.b.o.Prefix))
	if err != nil {
		return from, err
	}
	// Before the first message: what the ring does not keep any more counts as lost.
	from = stream.Start{After: true, Seq: math.MaxUint64}
	m, err := js.GetLastMsgForSubject(ctx, s.r.subject(s.b.o.Prefix))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		info, err := js.Info(ctx)
		if err == nil {
			s.last = info.State.LastSeq
		}
		return from, err
	}
	if err != nil {
		return from, err
	}
	s.last = m.Sequence
	f, _, err := parseFrame(codes[kindTopic], m.Data)
	if err != nil {
		return from, fmt.Errorf("%w: the last message of the stream: %w", ErrRefused, err)
	}
	if s.r.began(f.writer) {
		return from, fmt.Errorf("%w: frame %d", ErrOtherWriter, m.Sequence)
	}
	if f.incarnation == s.inc {
		from, s.lost = stream.Start{After: true, Seq: f.sequence}, f.lost
	}
	return from, nil
}

// send sends frames until an error.
func (s *sender) send(ctx context.Context) error {
	size := 8 + s.t.Size
	most := max((s.b.o.Pack-frameLen)/size, 1)
	var seq uint64
	for {
		buf := make([]byte, frameLen+most*size)
		wait, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		n, err := s.sub.RecvBatch(wait, most, func(pos uint64, i int) {
			at := buf[frameLen+i*size:]
			binary.BigEndian.PutUint64(at, pos)
			s.t.Load(pos, at[8:size])
		})
		cancel()
		s.r.stats.moved()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case n == 0 && errors.Is(err, context.DeadlineExceeded):
			continue
		case err == io.EOF || errors.Is(err, shmem.ErrUnlinked):
			sleep(ctx, 100*time.Millisecond)
			return errBegin
		case err != nil:
			return err
		}
		seq, _ = s.sub.Seq()
		s.count()
		f := frame{kind: codes[kindTopic], fingerprint: s.t.Layout.Item.Fingerprint(),
			incarnation: s.inc, sequence: seq, lost: s.lost + s.counted, writer: s.me}
		f.append(buf[:0])
		if err := s.publish(ctx, buf[:frameLen+n*size]); err != nil {
			return err
		}
		s.r.stats.sent.Add(int64(n))
	}
}

// count counts what the ring has lost.
func (s *sender) count() {
	now := s.sub.Lost()
	s.r.stats.lost.Add(int64(now - s.counted))
	s.counted = now
}

// publish puts a frame on its way.
func (s *sender) publish(ctx context.Context, b []byte) error {
	f, err := s.r.js.PublishMsgAsync(
		&nats.Msg{Subject: s.r.subject(s.b.o.Prefix), Data: b},
		jetstream.WithExpectLastSequence(s.last), jetstream.WithRetryAttempts(0),
		jetstream.WithStallWait(look))
	if err != nil {
		return err
	}
	s.last++
	s.r.stats.inFlight.Add(1)
	select {
	case s.futures <- f:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// acknowledge waits for acknowledgements, in their order, and ends the session at an error. A
// future without an acknowledgement fails after look.
func (s *sender) acknowledge(ctx context.Context, stop context.CancelCauseFunc) {
	for f := range s.futures {
		select {
		case <-f.Ok():
			s.r.begin(s.me)
			s.r.stats.acked.Add(1)
			s.r.stats.inFlight.Add(-1)
			s.r.stats.moved()
		case err := <-f.Err():
			stop(err)
		case <-ctx.Done():
		}
	}
}
