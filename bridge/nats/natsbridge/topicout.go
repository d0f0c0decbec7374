package natsbridge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/internal/at"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

const window = 512 // frames of a topic that are on the way at most

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
	pipe    *pipe
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
	return b.claimed(ctx, r, kv, s.run)
}

// run sends the topic until an error.
func (s *sender) run(ctx context.Context) error {
	b, r := s.b, s.r
	from, err := s.resume(ctx)
	if err != nil {
		return err
	}
	if s.sub, err = s.t.Subscribe(from, stream.NoHold); err != nil {
		return err
	}
	defer s.sub.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p, end, err := newPipe(ctx, b.nc, r.subject(b.o.Prefix), r.stream(b.o.Prefix), window,
		s.accepted, stop)
	if err != nil {
		return err
	}
	defer end()
	s.pipe = p
	r.stats.set("running", nil)
	err = s.send(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
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
	step.Reach(at.TopicOutResumed)
	f, _, err := parseFrame(codes[kindTopic], m.Data)
	if err != nil {
		return from, fmt.Errorf("%w: the last message of the stream: %w", ErrRefused, err)
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
	buf := make([]byte, frameLen+most*size)
	get := func(pos uint64, i int) {
		at := buf[frameLen+i*size:]
		binary.BigEndian.PutUint64(at, pos)
		s.t.Load(pos, at[8:size])
	}
	for {
		if s.pipe.room() == 0 {
			return ctx.Err()
		}
		wait, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		n, err := s.sub.RecvBatch(wait, most, get)
		cancel()
		s.r.stats.turned()
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
		seq, _ := s.sub.Seq()
		s.count()
		step.Reach(at.TopicOutRead)
		f := frame{kind: codes[kindTopic], fingerprint: s.t.Layout.Item.Fingerprint(),
			incarnation: s.inc, sequence: seq, lost: s.lost + s.counted, writer: s.me}
		f.append(buf[:0])
		if err := s.publish(buf[:frameLen+n*size]); err != nil {
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
func (s *sender) publish(b []byte) error {
	err := s.pipe.put(b, 1, jetstream.ExpectedLastSeqHeader, strconv.FormatUint(s.last, 10))
	if err != nil {
		return err
	}
	s.last++
	s.r.stats.inFlight.Add(1)
	step.Reach(at.TopicOutSent)
	return nil
}

// accepted notes that the stream has one more frame.
func (s *sender) accepted(uint64, bool) {
	step.Reach(at.TopicOutAcked)
	s.r.stats.acked.Add(1)
	s.r.stats.inFlight.Add(-1)
	s.r.stats.moved()
}
