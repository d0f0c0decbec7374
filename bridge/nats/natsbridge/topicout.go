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
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

const window = 512 // frames of a topic that are on the way at most

// A sender sends a topic to its stream, each frame on condition that the one before is the last of
// the stream. So the stream is a prefix of the topic; what fails is sent again from the ring.
//
// The condition of the first frame of a run is the sequence of the frame that was read. That of the
// others is the id of the one before too: a frame of an earlier run, which comes late, may find
// another frame at the sequence that it expects.
type sender struct {
	b       *Bridge
	r       *route
	t       *stream.Topic
	sub     *stream.Subscription
	me, inc uint64
	last    uint64 // sequence in the stream
	before  string // id of the frame that was sent last in this run; empty: none was
	lost    uint64 // of the incarnation, before this subscription
	counted uint64 // of the subscription's losses
	pipe    *pipe
	buf     []byte // a frame
	pack    int    // bytes that go into one at most, with more than one message
	largest int    // bytes that the server takes
}

// maxFrame returns how many bytes the server takes in one message, beside headers.
func (b *Bridge) maxFrame() int { return int(b.nc.MaxPayload()) - 512 }

// tooLarge returns an error if the server does not take a frame of so many bytes behind it.
func (b *Bridge) tooLarge(size int) error {
	if most := b.maxFrame() - frameLen; size > most {
		return fmt.Errorf("%w: a value has %d bytes, the server takes %d; raise its max_payload",
			ErrRefused, size, most)
	}
	return nil
}

// attachTopic attaches to a topic that goes out, of items or of bytes.
func attachTopic(dir, name string) (*stream.Topic, error) {
	kind, err := streamKind(dir, name)
	if err != nil {
		return nil, err
	}
	p := stream.Plan{
		Op: "topic attach", Name: name, Mode: stream.Attach,
		Options: &shmem.Options{Dir: dir, Passive: true},
	}
	if kind == layout.TopicBytesName {
		t, err := stream.OpenTopicBytes(p, 0, 0, 0)
		return t, refusedType(err)
	}
	t, err := stream.OpenTopic(p, nil, 0, 0)
	return t, refusedType(err)
}

// topicOut sends a topic.
func (b *Bridge) topicOut(ctx context.Context, r *route, kv jetstream.KeyValue) error {
	inc, err := incarnation(b.o.Dir, r.segment)
	if err != nil {
		return err
	}
	t, err := attachTopic(b.o.Dir, r.segment)
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	s := &sender{b: b, r: r, t: t, me: rand.Uint64(), inc: inc, largest: b.maxFrame()}
	s.pack = min(b.o.Pack, s.largest)
	if err := same(b.o.Dir, r.segment, inc); err != nil {
		return err
	}
	item := t.Layout.Item
	if item != nil {
		if err := b.tooLarge(8 + item.Size); err != nil {
			return err
		}
	}
	return b.claimed(ctx, r, kv, sending{schema: item, run: s.run})
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
	f, found, err := s.own(ctx, js, m)
	if found {
		from, s.lost = stream.Start{After: true, Seq: f.sequence}, f.lost
	}
	return from, err
}

// strangers is how many messages of other programs and topics a bridge looks through.
const strangers = 200

// own returns the last frame of this topic in the stream, whose last message is m. There is none if
// the topic was made anew. Other programs, or a bridge of another topic that had the route for some
// time, may have written messages behind it.
func (s *sender) own(
	ctx context.Context, js jetstream.Stream, m *jetstream.RawStreamMsg,
) (f frame, found bool, err error) {
	cause := fmt.Errorf("%w: the last messages of the stream are of other programs", ErrRefused)
	last := m.Sequence
	for n := uint64(0); n < min(strangers, last); n++ {
		if n > 0 {
			m, err = js.GetMsg(ctx, last-n)
		}
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			continue
		case ctx.Err() != nil:
			return f, false, ctx.Err()
		case err != nil: // it may lack the permission
			s.b.o.Logger.Warn("the stream cannot be looked through", "route", s.r.String(),
				"error", err)
			return f, false, cause
		}
		f, _, err := parseFrame(codes[kindTopic], m.Data)
		switch {
		case err == nil && f.incarnation == s.inc:
			return f, true, nil
		case err == nil:
			cause = nil // a topic had the route before this one
		}
	}
	return f, false, cause
}

// send sends frames until an error.
func (s *sender) send(ctx context.Context) error {
	fill := s.items()
	if s.t.Layout.Item == nil {
		fill = s.fillBytes
	}
	for {
		if s.pipe.room() == 0 {
			return ctx.Err()
		}
		wait, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		n, err := fill(wait)
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
		f := frame{kind: codes[kindTopic], fingerprint: bytesPrint,
			incarnation: s.inc, sequence: seq, lost: s.lost + s.counted, writer: s.me}
		if item := s.t.Layout.Item; item != nil {
			f.fingerprint = item.Fingerprint()
		}
		f.append(s.buf[:0])
		if err := s.publish(s.buf); err != nil {
			return err
		}
		s.r.stats.sent.Add(int64(n))
	}
}

// items returns a function that waits for an item, and makes a frame of all that are there.
func (s *sender) items() func(context.Context) (int, error) {
	size := 8 + s.t.Size
	most := max((s.pack-frameLen)/size, 1)
	buf := make([]byte, frameLen+most*size)
	get := func(pos uint64, i int) {
		at := buf[frameLen+i*size:]
		binary.BigEndian.PutUint64(at, pos)
		s.t.Load(pos, at[8:size])
	}
	return func(ctx context.Context) (int, error) {
		n, err := s.sub.RecvBatch(ctx, most, get)
		s.buf = buf[:frameLen+n*size]
		return n, err
	}
}

// errNextFrame leaves a message for the next frame.
var errNextFrame = errors.New("it is for the next frame")

// fillBytes is what items returns for a topic of bytes. What the server does not take is lost.
func (s *sender) fillBytes(ctx context.Context) (n int, err error) {
	if s.buf == nil {
		s.buf = make([]byte, frameLen, s.pack)
	}
	s.buf = s.buf[:frameLen]
	for {
		had := len(s.buf)
		large := false
		err := s.sub.RecvBytesFunc(ctx, func(p []byte) error {
			size := had + messageLen + len(p)
			if large = size > s.largest && n == 0; large {
				return nil
			}
			if size > s.pack && n > 0 {
				return errNextFrame
			}
			s.buf = appendMessage(s.buf[:had], s.sub.Next(), p)
			return nil
		})
		switch {
		case errors.Is(err, stream.ErrLost): // the ring counts it
			s.buf = s.buf[:had]
			continue
		case err != nil && n > 0: // the next call finds it
			return n, nil
		case err != nil:
			return 0, err
		case large:
			s.lost++
			s.r.stats.lost.Add(1)
			s.b.o.Logger.Warn("a message is larger than the server takes",
				"route", s.r.String(), "most", s.largest)
			continue
		}
		n++
		ctx = stream.Try{}
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
	id := fmt.Sprintf("%x.%x", s.me, s.last)
	err := s.pipe.put(b, 1, jetstream.ExpectedLastSeqHeader, strconv.FormatUint(s.last, 10),
		jetstream.ExpectedLastMsgIDHeader, s.before, jetstream.MsgIDHeader, id)
	if err != nil {
		return err
	}
	s.last++
	s.before = id
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
