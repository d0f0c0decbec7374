package natsbridge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/internal/at"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

// A receiver publishes the frames of a stream to the mirror of a topic. It is the only publisher.
type receiver struct {
	b    *Bridge
	r    *route
	kv   jetstream.KeyValue
	s    *topicState
	t    *stream.Topic // nil: not opened yet
	item *format.Type  // of the origin

	fingerprint uint64
	order       uint64 // of the last message, as the consumer counts
	settled     bool   // from and skip are known
	from        uint64 // the first frame that is not applied as a whole
	skip        uint64 // how many messages of it are
	frames      []int  // where each frame of the batch ends in messages
	messages    []message
	parsed      []message
	bodies      [][]byte
	// next is the number of the first message of the incarnation that was not taken yet.
	incarnation, next uint64
}

// topicIn mirrors a stream to a topic.
func (b *Bridge) topicIn(ctx context.Context, r *route, kv jetstream.KeyValue) error {
	s, err := openState[topicWords](b.o.Dir, r)
	if err != nil {
		return err
	}
	defer s.close()
	x := &receiver{b: b, r: r, kv: kv, s: &topicState{s}}
	defer x.close()
	info, err := b.js.Stream(ctx, r.stream(b.o.Prefix))
	if err != nil {
		return err
	}
	x.s.follow(uint64(info.CachedInfo().Created.UnixNano()))
	// The frames that were about to be applied come again: a part of them may be missing.
	start := max(x.s.mark().Stream.Load(), 1)
	// It is not an OrderedConsumer, which begins anew by itself: on a connection that is cut and
	// does not know it yet this takes 10 s and more, and cannot be stopped.
	cons, err := b.js.CreateConsumer(ctx, r.stream(b.o.Prefix), jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: 30 * time.Second,
		MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return err
	}
	return b.receive(ctx, r, cons, pullTopic, x.gone, x.take)
}

// gone reports whether the mirror was removed.
func (x *receiver) gone() bool {
	return x.t != nil && closed(x.t.Segment.Unlinked())
}

// pullTopic is how many frames the server sends before it is asked for more.
const pullTopic = 512

// receive calls take with the messages of a consumer. A mirror that was removed is made anew.
func (b *Bridge) receive(
	ctx context.Context, r *route, cons jetstream.Consumer, most int, gone func() bool,
	take func(context.Context, []arrival) error,
) error {
	p, err := newPull(b.nc, cons, most)
	if err != nil {
		return err
	}
	defer p.close()
	r.stats.set("running", nil)
	var all []arrival
	for {
		clear(all)
		if all, err = p.next(ctx, all[:0]); err != nil {
			return err
		}
		if len(all) == 0 { // another host may have taken what there was
			r.stats.lag.Store(0)
		}
		r.stats.turned()
		if gone() {
			return errBegin
		}
		if len(all) == 0 {
			continue
		}
		r.stats.lag.Store(int64(all[len(all)-1].md.NumPending))
		if err := take(ctx, all); err != nil {
			return err
		}
		r.stats.moved()
	}
}

func (x *receiver) close() {
	if x.t != nil {
		_ = x.t.Close()
	}
}

// open opens the mirror.
func (x *receiver) open(ctx context.Context, fingerprint uint64) (err error) {
	p := stream.Plan{
		Op: "topic open", Name: x.r.segment, Mode: stream.Open, Kept: true,
		Options: &shmem.Options{Dir: x.b.o.Dir, Append: true, Undo: shmem.UndoNever},
	}
	var item *format.Type
	var t *stream.Topic
	if fingerprint == bytesPrint {
		t, err = stream.OpenTopicBytes(p, x.b.o.Capacity, mirrorBytes, 0)
	} else if item, err = x.b.schema(ctx, x.kv, fingerprint); err == nil {
		t, err = stream.OpenTopic(p, item, x.b.o.Capacity, 0)
	}
	if err != nil {
		return refusedType(err)
	}
	x.close()
	x.t, x.item, x.fingerprint = t, item, fingerprint
	return nil
}

// take publishes the messages of some frames.
func (x *receiver) take(ctx context.Context, all []arrival) error {
	step.Reach(at.TopicInReceived)
	for len(all) > 0 {
		n, err := x.batch(ctx, all)
		if err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// batch publishes the frames at the beginning of all that one mark can stand for: they follow each
// other in the stream, and are of one incarnation. It returns how many it has done with. A message
// that cannot be read is left out.
func (x *receiver) batch(ctx context.Context, all []arrival) (done int, err error) {
	x.frames, x.messages = x.frames[:0], x.messages[:0]
	var first, last frame
	begin := uint64(0) // the number of the first message that is new
	for i := range all {
		a := &all[i]
		f, body, err := parseFrame(codes[kindTopic], a.msg.Data)
		if i > 0 && (err != nil || f.fingerprint != first.fingerprint ||
			f.incarnation != first.incarnation ||
			a.md.Sequence.Stream != all[0].md.Sequence.Stream+uint64(i)) {
			break
		}
		if err == nil && i == 0 {
			first = f
			if err = x.ready(ctx, f.fingerprint); err == nil {
				begin = x.since(f.incarnation)
			}
		}
		there := len(x.messages)
		if err == nil {
			err = x.split(&f, body)
		}
		if errors.Is(err, errFrame) && i > 0 {
			x.messages = x.messages[:there]
			break
		}
		if x.order++; a.md.Sequence.Consumer != x.order {
			return 0, errBegin // a message was lost on the way
		}
		if errors.Is(err, errFrame) {
			x.refuse(a, err)
			return 1, nil
		}
		if err != nil {
			return 0, err
		}
		x.frames, last = append(x.frames, len(x.messages)), f
	}
	return len(x.frames), x.apply(ctx, all[0].md.Sequence.Stream, begin, &last)
}

// since returns the number of the first message of an incarnation that was not applied. What comes
// next is of that incarnation.
func (x *receiver) since(incarnation uint64) uint64 {
	if x.incarnation != incarnation {
		x.incarnation, x.next = incarnation, 0
	}
	return x.next
}

// refuse notes a message that cannot be read. The stream keeps it.
func (x *receiver) refuse(a *arrival, cause error) {
	x.r.stats.poison.Add(1)
	x.b.o.Logger.Warn("message refused", "route", x.r.String(),
		"sequence", a.md.Sequence.Stream, "error", cause)
}

// ready opens the mirror, and finds out what was applied before.
func (x *receiver) ready(ctx context.Context, fingerprint uint64) error {
	if x.t == nil || fingerprint != x.fingerprint {
		if err := x.open(ctx, fingerprint); err != nil {
			return x.b.unfit(ctx, x.r, fingerprint, err)
		}
		step.Reach(at.TopicInOpened)
	}
	if x.settled {
		return nil
	}
	m := x.s.mark()
	x.from, x.skip = m.Stream.Load(), 0
	x.incarnation, x.next = m.Incarnation.Load(), m.First.Load()
	if x.from != 0 && !x.anew(m) {
		n, err := x.published(ctx, m)
		if err != nil {
			return err
		}
		frames, skip := m.applied(n)
		x.from += uint64(frames)
		x.skip = skip
	}
	x.settled = true
	step.Reach(at.TopicInSettled)
	return nil
}

// split appends the messages of a frame's body. It leaves out those that came before, which a
// sender sends again to a stream that was purged or made anew, and one that is larger than the
// mirror takes.
func (x *receiver) split(f *frame, body []byte) (err error) {
	if x.item == nil {
		x.parsed, err = appendMessages(x.parsed[:0], &frame{kind: packed}, body)
	} else {
		x.parsed, err = appendItems(x.parsed[:0], x.item.Size, body)
	}
	if err != nil {
		return err
	}
	for _, m := range x.parsed {
		switch {
		case m.position < x.next:
			x.r.stats.duplicates.Add(1)
			continue
		case x.item == nil && len(m.body) > x.t.Layout.Bytes:
			x.r.stats.poison.Add(1)
			x.b.o.Logger.Warn("message refused", "route", x.r.String(), "number", m.position,
				"error", fmt.Errorf("%d bytes, the mirror takes %d", len(m.body), x.t.Layout.Bytes))
			continue
		}
		x.messages = append(x.messages, m)
	}
	x.next = max(x.next, f.sequence+1)
	return nil
}

// appendItems appends the messages of a frame of a topic of items.
func appendItems(all []message, size int, body []byte) ([]message, error) {
	size += 8
	if len(body)%size != 0 {
		return all, fmt.Errorf("%w: %d bytes, a message has %d", errFrame, len(body), size)
	}
	for ; len(body) > 0; body = body[size:] {
		all = append(all, message{binary.BigEndian.Uint64(body), body[8:size:size]})
	}
	return all, nil
}

// apply publishes the messages of the batch whose first frame has that sequence. begin is the
// number of the first message that is new.
func (x *receiver) apply(ctx context.Context, seq, begin uint64, last *frame) error {
	frames, messages, cut := x.frames, x.messages, 0
	for len(frames) > 0 && seq < x.from { // these are applied
		cut, frames, seq = frames[0], frames[1:], seq+1
	}
	if len(frames) > 0 && seq == x.from {
		cut += int(min(x.skip, uint64(frames[0]-cut)))
	}
	x.r.stats.duplicates.Add(int64(cut))
	if len(frames) == 0 {
		return nil
	}
	st, err := x.t.State()
	if err != nil {
		return err
	}
	x.s.lost(x.r, last)
	if cut > 0 {
		begin = messages[cut-1].position + 1
	}
	x.s.setMark(marking{seq, st.Published, st.Skipped, x.incarnation, begin, x.next}, cut, frames)
	step.Reach(at.TopicInMarked)
	messages = messages[cut:]
	n, err := x.publish(ctx, messages)
	x.r.stats.sent.Add(int64(n))
	step.Reach(at.TopicInPublished)
	return err
}

// publish publishes messages to the mirror, and returns how many it has published. Where a
// subscriber of the mirror holds it back it waits, and says that it runs.
func (x *receiver) publish(ctx context.Context, list []message) (done int, err error) {
	all := x.bodies[:0]
	for _, m := range list {
		all = append(all, m.body)
	}
	x.bodies = all
	put := func(pos uint64, _, i int) { x.t.Store(pos, all[done+i]) }
	for done < len(all) {
		wait, cancel := context.WithTimeout(ctx, time.Second)
		var n int
		var err error
		if x.item == nil {
			n, err = x.t.Own.PublishBytesBatch(wait, all[done:])
		} else {
			n, err = x.t.Own.PublishBatch(wait, len(all)-done, nil, put)
		}
		cancel()
		done += n
		x.r.stats.turned()
		switch {
		case err == nil:
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			if x.gone() {
				return done, errBegin
			}
		default:
			return done, err
		}
	}
	return done, nil
}

// anew reports whether the mirror was removed and made anew since a mark.
func (x *receiver) anew(m *mark) bool {
	st, err := x.t.State()
	return err == nil && st.Published < m.Local.Load()
}

// published returns how many messages were published since a mark. The slot of a bridge that died
// in the middle of one is skipped first.
func (x *receiver) published(ctx context.Context, m *mark) (n uint64, err error) {
	from := stream.Start{After: true, Seq: m.Local.Load() - 1}
	sub, err := x.t.Subscribe(from, stream.NoHold)
	if err != nil {
		return 0, err
	}
	defer sub.Close()
	for begun := time.Now(); time.Since(begun) < settleFor; {
		st, err := x.t.State()
		if err != nil {
			return 0, err
		}
		total := st.Published - m.Local.Load()
		skipped := st.Skipped - m.Skipped.Load()
		if n+sub.Lost()+skipped >= total {
			return total - skipped, nil
		}
		wait, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		k, err := sub.RecvBatch(wait, 256, func(uint64, int) {})
		cancel()
		if n += uint64(k); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return 0, err
		}
	}
	return 0, errUnsettled
}
