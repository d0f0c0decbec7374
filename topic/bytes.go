package topic

import (
	"context"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/stream"
)

// A Bytes is an attachment to a topic of messages of any length. Its methods are safe for
// concurrent use.
//
// The topic keeps the newest messages: at most BytesOptions.Capacity of them, and as many as their
// bytes fit into BytesOptions.Bytes. Each message is rounded up to 8 bytes. It lies in one piece,
// so bytes at the end of the ring stay empty where the next message does not fit. What package
// topic says of a Topic is true of a Bytes too; to be overwritten means that its slot or its bytes
// are used again.
type Bytes struct{ core *stream.Topic }

// OpenBytes attaches to the topic of that name, or creates it if there is none. An existing topic
// keeps its sizes and its holds. The errors are those of shmem.Open; a segment that is not a topic
// of bytes is shmem.ErrMismatch.
func OpenBytes(name string, opts *BytesOptions) (*Bytes, error) {
	return openBytes(name, stream.Open, opts)
}

// CreateBytes creates a topic. It returns fs.ErrExist if there is a segment of that name.
func CreateBytes(name string, opts *BytesOptions) (*Bytes, error) {
	return openBytes(name, stream.Create, opts)
}

// AttachBytes attaches to the topic of that name. It returns fs.ErrNotExist if there is none.
func AttachBytes(name string, opts *BytesOptions) (*Bytes, error) {
	return openBytes(name, stream.Attach, opts)
}

// AttachBytesWait is AttachBytes, but waits as AttachWait does.
func AttachBytesWait(ctx context.Context, name string, opts *BytesOptions) (t *Bytes, err error) {
	plan := stream.Plan{Op: "topic attach", Name: name}
	o, err := opts.filled()
	if err != nil {
		return nil, plan.Error(err)
	}
	plan.Options = o.segment()
	err = plan.AttachWait(ctx, func() error {
		t, err = AttachBytes(name, opts)
		return err
	})
	return t, err
}

func openBytes(name string, mode stream.Mode, opts *BytesOptions) (*Bytes, error) {
	plan := stream.Plan{Op: "topic " + string(mode), Name: name, Mode: mode}
	o, err := opts.filled()
	if err != nil {
		return nil, plan.Error(err)
	}
	plan.Options, plan.Stamped = o.segment(), o.Stamped
	if opts != nil {
		plan.Capacity, plan.Bytes, plan.Holds = opts.Capacity, (opts.Bytes+7)&^7, opts.Holds
	}
	core, err := stream.OpenTopicBytes(plan, o.Capacity, o.Bytes, o.Holds)
	if err != nil {
		return nil, err
	}
	return &Bytes{core}, nil
}

// Publish publishes a copy of p. When it returns nil the message is in the topic, whatever happens
// to this process; after an error it is not, except after ErrCorrupt. The cost does not depend on
// the number of subscribers, apart from waking those that wait.
//
// Publish blocks while a subscription holds it back (BytesOptions.Holds), or while another
// publisher has not finished a message that it began in the same slot or the same bytes one lap
// ago. A dead process that blocks it is found after at most 100 ms. Beside TryPublish in a loop it
// can wait for seconds; see Topic.Publish.
//
// The errors are ErrTooBig, the context's, ErrEnded after End, ErrUnlinked, ErrClosed, ErrReadOnly
// and ErrCorrupt.
func (t *Bytes) Publish(ctx context.Context, p []byte) error {
	return t.core.Own.PublishBytes(ctx, p)
}

// TryPublish is Publish that returns ErrFull where Publish would block.
func (t *Bytes) TryPublish(p []byte) error { return t.Publish(stream.Try{}, p) }

// PublishFunc publishes a message of n bytes that f writes in place, without a copy. n is 0 to
// MaxLen, or the error is ErrTooBig. The bytes that f finds are not cleared. If f fails or panics
// nothing is published: its slot, and with it a sequence number, is skipped. Other messages can be
// published meanwhile, but subscribers receive them after this one. The slice must not be used
// after f. The errors are f's, as it is, and those of Publish.
func (t *Bytes) PublishFunc(ctx context.Context, n int, f func([]byte) error) error {
	return t.core.Own.PublishBytesFunc(ctx, n, f)
}

// PublishBatch publishes a copy of each of ps as a message, in order. See Topic.PublishBatch.
func (t *Bytes) PublishBatch(ctx context.Context, ps [][]byte) (int, error) {
	return t.core.Own.PublishBytesBatch(ctx, ps)
}

// A BytesPublisher is a publishing end of a Bytes for one goroutine at a time. It does what the
// methods of the topic do, and is faster. It ends with the topic. A topic may have any number of
// them.
type BytesPublisher struct{ core *stream.Publisher }

var _ io.Closer = (*BytesPublisher)(nil)

// Publisher makes a publishing end. The errors are ErrReadOnly and ErrClosed.
func (t *Bytes) Publisher() (*BytesPublisher, error) {
	core, err := t.core.Publisher()
	if err != nil {
		return nil, err
	}
	return &BytesPublisher{core}, nil
}

// Publish publishes a copy of b. See Bytes.Publish.
func (p *BytesPublisher) Publish(ctx context.Context, b []byte) error {
	return p.core.PublishBytes(ctx, b)
}

// TryPublish is Publish that returns ErrFull where Publish would block.
func (p *BytesPublisher) TryPublish(b []byte) error { return p.Publish(stream.Try{}, b) }

// PublishFunc publishes a message of n bytes that f writes in place. See Bytes.PublishFunc. f must
// not use the BytesPublisher.
func (p *BytesPublisher) PublishFunc(ctx context.Context, n int, f func([]byte) error) error {
	return p.core.PublishBytesFunc(ctx, n, f)
}

// PublishBatch publishes a copy of each of ps as a message, in order. See Topic.PublishBatch.
func (p *BytesPublisher) PublishBatch(ctx context.Context, ps [][]byte) (int, error) {
	return p.core.PublishBytesBatch(ctx, ps)
}

// Close ends the publisher. See Publisher.Close.
func (p *BytesPublisher) Close() error {
	p.core.Close()
	return nil
}

// A BytesSubscription receives the messages of a Bytes, for one goroutine at a time, except for
// Close. It ends with its topic.
type BytesSubscription struct{ core *stream.Subscription }

var (
	_ io.Closer      = (*BytesSubscription)(nil)
	_ shmem.Waitable = (*BytesSubscription)(nil)
)

// Subscribe makes a subscription. See Topic.Subscribe.
func (t *Bytes) Subscribe(from Start, how ...Delivery) (*BytesSubscription, error) {
	core, err := subscribe(t.core, from, how)
	if err != nil {
		return nil, err
	}
	return &BytesSubscription{core}, nil
}

// Recv receives the next message, and blocks until there is one. It appends the message to buf,
// which may be nil, and returns the result; after an error that is buf, and what is behind its
// length may have changed. The errors are those of Subscription.Recv.
func (s *BytesSubscription) Recv(ctx context.Context, buf []byte) ([]byte, error) {
	return s.core.RecvBytes(ctx, buf)
}

// TryRecv is Recv that returns ErrEmpty where Recv would block.
func (s *BytesSubscription) TryRecv(buf []byte) ([]byte, error) {
	return s.Recv(stream.Try{}, buf)
}

// Wait waits until Recv has a message or io.EOF to return, and receives nothing. It makes the
// subscription a shmem.Waitable. The errors are those of Recv, without io.EOF.
func (s *BytesSubscription) Wait(ctx context.Context) error { return s.core.Wait(ctx) }

// RecvFunc receives a message that f reads in place, without a copy. If f fails or panics the
// message is not received: the next call gets it again, unless it is lost by then. The slice must
// not be used after f, and f must not write to it. The bytes can change while f looks at them:
// ErrLost says so. See Subscription.RecvFunc.
func (s *BytesSubscription) RecvFunc(ctx context.Context, f func([]byte) error) error {
	return s.core.RecvBytesFunc(ctx, f)
}

// RecvBatch receives up to len(bufs) messages in order, and blocks until there is one. It stores
// message i in bufs[i], whose old contents it replaces and whose capacity it uses, and returns how
// many there are: at least one, or an error, one of those of Recv. With Newest it is one. If bufs
// is empty it receives nothing and does not wait. Elements behind those that are received may have
// changed.
func (s *BytesSubscription) RecvBatch(ctx context.Context, bufs [][]byte) (int, error) {
	return s.core.RecvBytesBatch(ctx, bufs)
}

// All receives copies of messages until the topic ends. It looks at ctx before every message. An
// error is the last that it yields, with a nil message.
func (s *BytesSubscription) All(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			b, err := s.next(ctx)
			if err == io.EOF || !yield(slices.Clip(b), err) || err != nil {
				return
			}
		}
	}
}

func (s *BytesSubscription) next(ctx context.Context) ([]byte, error) {
	if err := stream.Context(ctx); err != nil {
		return nil, s.core.Errors().Of(err)
	}
	b, err := s.Recv(ctx, nil)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Lost returns how many messages were overwritten before this subscription received them.
func (s *BytesSubscription) Lost() uint64 { return s.core.Lost() }

// Seq returns the sequence number of the message that was received last. See Subscription.Seq.
func (s *BytesSubscription) Seq() (seq uint64, ok bool) { return s.core.Seq() }

// Time returns when the message that was received last was published. See Subscription.Time.
func (s *BytesSubscription) Time() time.Time { return s.core.Time() }

// Close ends the subscription; publishers no longer wait for it. See Subscription.Close.
func (s *BytesSubscription) Close() error {
	s.core.Close()
	return nil
}

// Latest appends the newest message to buf, which may be nil, and returns the result and the
// message's sequence number. After an error the result is buf. See Topic.Latest.
func (t *Bytes) Latest(buf []byte) ([]byte, uint64, error) { return t.core.LatestBytes(buf) }

// End ends the topic for all publishers in all processes. See Topic.End.
func (t *Bytes) End() error { return t.core.End() }

// MaxLen returns the length in bytes of the largest message, which is BytesOptions.Bytes.
func (t *Bytes) MaxLen() int { return t.core.Layout.Bytes }

// Cap returns how many messages the topic keeps at most.
func (t *Bytes) Cap() int { return t.core.Layout.Capacity }

// Name returns the name of the topic's segment.
func (t *Bytes) Name() string { return t.core.Segment.Name() }

// Linked reports whether the name still leads to this topic. See shmem.Segment.Linked.
func (t *Bytes) Linked() bool { return t.core.Segment.Linked() }

// Unlinked returns a channel that is closed when the name no longer leads to this topic. See
// shmem.Segment.Unlinked.
func (t *Bytes) Unlinked() <-chan struct{} { return t.core.Segment.Unlinked() }

// Owned reports whether this attachment owns the topic.
func (t *Bytes) Owned() bool { return t.core.Segment.Owned() }

// Own makes this attachment the owner of the topic. See shmem.Segment.Own.
func (t *Bytes) Own() error { return t.core.Segment.Own() }

// Segment returns the topic's segment, for what has no method here. Closing either closes both.
func (t *Bytes) Segment() *shmem.Segment { return t.core.Segment }

// Close ends the attachment with all its subscriptions, and the topic if this attachment owns it.
// See Topic.Close.
func (t *Bytes) Close() error { return t.core.Segment.Close() }

// Leak ends the attachment and leaves the topic without an owner. See shmem.Segment.Leak.
func (t *Bytes) Leak() error { return t.core.Segment.Leak() }

// Stats returns the state of the topic. See Topic.Stats.
func (t *Bytes) Stats() (Stats, error) { return statsOf(t.core) }
