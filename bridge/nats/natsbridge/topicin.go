package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/stream"
)

// A receiver publishes the frames of a stream to the mirror of a topic. It is the only publisher.
type receiver struct {
	b    *Bridge
	r    *route
	kv   jetstream.KeyValue
	s    *state
	t    *stream.Topic // nil: not opened yet
	item *format.Type  // of the origin

	fingerprint uint64
}

// topicIn mirrors a stream to a topic.
func (b *Bridge) topicIn(ctx context.Context, r *route, kv jetstream.KeyValue) error {
	s, err := openState(b.o.Dir, r)
	if err != nil {
		return err
	}
	defer s.close()
	x := &receiver{b: b, r: r, kv: kv, s: s}
	defer x.close()
	// The frame that was about to be applied comes again: a part of it may be missing.
	start := max(s.words().mark().Stream.Load(), 1)
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
	last := uint64(0)
	return b.receive(ctx, r, cons, x.gone, func(
		ctx context.Context, msg jetstream.Msg, md *jetstream.MsgMetadata,
	) error {
		if last++; md.Sequence.Consumer != last {
			return errBegin // a message was lost on the way
		}
		return x.take(ctx, msg, md)
	})
}

// gone reports whether the mirror was removed.
func (x *receiver) gone() bool {
	return x.t != nil && closed(x.t.Segment.Unlinked())
}

// receive calls take with each message of a consumer. A mirror that was removed is made anew.
func (b *Bridge) receive(
	ctx context.Context, r *route, cons jetstream.Consumer, gone func() bool,
	take func(context.Context, jetstream.Msg, *jetstream.MsgMetadata) error,
) error {
	it, err := cons.Messages(jetstream.PullMaxMessages(500),
		jetstream.PullHeartbeat(time.Second), jetstream.PullExpiry(5*time.Second))
	if err != nil {
		return err
	}
	defer it.Stop()
	defer context.AfterFunc(ctx, it.Stop)()
	r.stats.set("running", nil)
	for {
		msg, err := it.Next()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		md, err := msg.Metadata()
		if err != nil {
			return err
		}
		r.stats.lag.Store(int64(md.NumPending))
		if gone() {
			return errBegin
		}
		if err := take(ctx, msg, md); err != nil {
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
func (x *receiver) open(ctx context.Context, fingerprint uint64) error {
	item, err := getSchema(ctx, x.kv, fingerprint)
	if err != nil {
		return err
	}
	x.close()
	x.t = nil
	t, err := stream.OpenTopic(stream.Plan{
		Op: "topic open", Name: x.r.segment, Mode: stream.Open, Options: &shmem.Options{
			Dir: x.b.o.Dir, Lifetime: shmem.Kept, Append: true, Undo: shmem.UndoNever,
		},
	}, item, x.b.o.Capacity, 0)
	if err != nil {
		return refusedType(err)
	}
	x.t, x.item, x.fingerprint = t, item, fingerprint
	return nil
}

// take publishes the messages of one frame.
func (x *receiver) take(ctx context.Context, msg jetstream.Msg, md *jetstream.MsgMetadata) error {
	f, body, err := parseFrame(codes[kindTopic], msg.Data())
	if err != nil {
		return fmt.Errorf("%w: message %d: %w", ErrRefused, md.Sequence.Stream, err)
	}
	if x.t == nil || f.fingerprint != x.fingerprint {
		if err := x.open(ctx, f.fingerprint); err != nil {
			return err
		}
	}
	size := 8 + x.item.Size
	if len(body)%size != 0 {
		return fmt.Errorf("%w: message %d: %d bytes, a message has %d", ErrRefused,
			md.Sequence.Stream, len(body), size)
	}
	skip, err := x.begin(ctx, &f, md.Sequence.Stream)
	if err != nil {
		return err
	}
	n := len(body)/size - int(min(skip, uint64(len(body)/size)))
	body = body[len(body)-n*size:]
	done, err := x.t.Own.PublishBatch(ctx, n, nil, func(pos uint64, _, i int) {
		x.t.Store(pos, body[i*size+8:(i+1)*size])
	})
	x.r.stats.sent.Add(int64(done))
	return err
}

// begin notes that a frame is about to be applied. It returns how many of its messages are there:
// all, if it comes again, or those that a bridge had published before it died.
func (x *receiver) begin(ctx context.Context, f *frame, seq uint64) (skip uint64, err error) {
	w := x.s.words()
	m := w.mark()
	switch was := m.Stream.Load(); {
	case seq < was:
		x.r.stats.duplicates.Add(1)
		return math.MaxUint64, nil
	case seq == was && x.anew(m): // the whole frame
	case seq == was:
		skip, err = x.published(ctx, m)
		x.r.stats.duplicates.Add(int64(skip))
		return skip, err
	}
	st, err := x.t.State()
	if err != nil {
		return 0, err
	}
	if w.Incarnation.Swap(f.incarnation) != f.incarnation {
		w.Lost.Store(0)
	}
	if was := w.Lost.Swap(f.lost); f.lost > was {
		x.r.stats.lost.Add(int64(f.lost - was))
	}
	w.setMark(seq, st.Published, st.Skipped)
	return 0, nil
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
