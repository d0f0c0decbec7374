package topic

import (
	"context"
	"reflect"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/stream"
)

// A Topic is an attachment to a topic of messages of type T. T must be free of Go pointers, as for
// shmem.Box. Its methods are safe for concurrent use.
type Topic[T any] struct {
	_     [0]*T // a Topic[T] converts to no Topic[U]
	core  *stream.Topic
	items mem.Table[T]
}

// Open attaches to the topic of that name, or creates it if there is none. An existing
// topic keeps its capacity and its holds. The errors are those of shmem.Open; a segment that is not
// a topic of T is shmem.ErrMismatch. Messages are copies: methods Init and Drop of T are never
// called.
func Open[T any](name string, opts *Options) (*Topic[T], error) {
	return open[T](name, stream.Open, opts)
}

// Create creates a topic. It returns fs.ErrExist if there is a segment of that name.
func Create[T any](name string, opts *Options) (*Topic[T], error) {
	return open[T](name, stream.Create, opts)
}

// Attach attaches to the topic of that name. It returns fs.ErrNotExist if there is none.
func Attach[T any](name string, opts *Options) (*Topic[T], error) {
	return open[T](name, stream.Attach, opts)
}

// AttachWait is Attach, but waits until there is a topic of that name that can be attached to, or
// until ctx is done. It returns other errors of Attach at once; see shmem.AttachWait.
func AttachWait[T any](ctx context.Context, name string, opts *Options) (t *Topic[T], err error) {
	plan := stream.Plan{Op: "topic attach", Name: name}
	o, err := opts.filled()
	if err != nil {
		return nil, plan.Error(err)
	}
	plan.Options = o.segment()
	err = plan.AttachWait(ctx, func() error {
		t, err = Attach[T](name, opts)
		return err
	})
	return t, err
}

func open[T any](name string, mode stream.Mode, opts *Options) (*Topic[T], error) {
	plan := stream.Plan{Op: "topic " + string(mode), Name: name, Mode: mode}
	o, err := opts.filled()
	if err != nil {
		return nil, plan.Error(err)
	}
	item, err := format.Of(reflect.TypeFor[T]())
	if err != nil {
		return nil, plan.Error(err)
	}
	plan.Options, plan.Reserve = o.segment(), o.Reserve
	plan.Stamped = o.Stamped
	if opts != nil {
		plan.Capacity, plan.Holds = opts.Capacity, opts.Holds
	}
	core, err := stream.OpenTopic(plan, item, o.Capacity, o.Holds)
	if err != nil {
		return nil, err
	}
	l := core.Layout
	items, err := mem.TableAt[T](core.M, l.Items, l.Capacity, l.Stride, l.Stride)
	if err != nil {
		_ = core.Segment.Close()
		return nil, plan.Error(err)
	}
	return &Topic[T]{core: core, items: items}, nil
}

// Publish publishes a copy of v. When it returns nil the message is in the topic, whatever happens
// to this process; after an error it is not, except after ErrCorrupt. The cost does not depend on
// the number of subscribers, apart from waking those that wait.
//
// Publish blocks while a subscription holds it back (Options.Holds), or while another publisher has
// not finished the message that it began in the same slot one lap ago. A dead process that blocks
// it is found after at most 100 ms. Calls that wait have no place in a line: where another
// publisher takes each place at once, by TryPublish in a loop, Publish can wait for seconds.
//
// The errors are the context's, ErrEnded after End, ErrUnlinked, ErrClosed, ErrReadOnly and
// ErrCorrupt.
func (t *Topic[T]) Publish(ctx context.Context, v T) error {
	return t.core.Publish(ctx, mem.Bytes(&v))
}

// TryPublish is Publish that returns ErrFull where Publish would block.
func (t *Topic[T]) TryPublish(v T) error { return t.core.Publish(stream.Try{}, mem.Bytes(&v)) }

// PublishFunc publishes a message that f writes in place, without a copy. f finds an older message
// there, the oldest that was kept, which is lost now. If f fails or panics nothing is published:
// its slot, and with it a sequence number, is skipped. Other messages can be published meanwhile,
// but subscribers receive them after this one. The pointer must not be used after f. The errors are
// f's, as it is, and those of Publish.
func (t *Topic[T]) PublishFunc(ctx context.Context, f func(*T) error) error {
	return t.core.Own.PublishFunc(ctx, t.writer(f))
}

// writer returns what calls f with the item of a position.
func (t *Topic[T]) writer(f func(*T) error) func(pos uint64) error {
	return func(pos uint64) error {
		if !robust.RaceEnabled {
			return f(t.inPlace(pos))
		}
		// Subscribers read the old message until they see that it is gone. That is no race, but the
		// race detector takes it for one: hide it by a copy.
		var v T
		t.core.Load(pos, mem.Bytes(&v))
		err := f(&v)
		t.core.Store(pos, mem.Bytes(&v))
		return err
	}
}

// inPlace returns the item of a position in the mapping.
func (t *Topic[T]) inPlace(pos uint64) *T { return t.items.At(t.core.Ring.Index(pos)) }

// Latest returns the newest message and its sequence number, without a subscription. It works on a
// topic attached to read-only. The errors are ErrClosed, and ErrEmpty if there is no message yet or
// publishers overwrote it a thousand times while it was read.
func (t *Topic[T]) Latest() (v T, seq uint64, err error) {
	if seq, err = t.core.Latest(mem.Bytes(&v)); err != nil {
		var none T
		return none, 0, err
	}
	return v, seq, nil
}

// End ends the topic for all publishers in all processes. Publishing calls return ErrEnded from now
// on, receiving calls io.EOF after the last message. Any attachment that can write may call it,
// more than once. A message that another process publishes at that moment may come too late for a
// subscription that has returned io.EOF. The errors are ErrReadOnly and ErrClosed.
// After the name was taken End changes nothing: calls return ErrUnlinked.
func (t *Topic[T]) End() error { return t.core.End() }

// Cap returns how many messages the topic keeps.
func (t *Topic[T]) Cap() int { return t.items.Len() }

// Name returns the name of the topic's segment.
func (t *Topic[T]) Name() string { return t.core.Segment.Name() }

// Linked reports whether the name still leads to this topic. See shmem.Segment.Linked.
func (t *Topic[T]) Linked() bool { return t.core.Segment.Linked() }

// Unlinked returns a channel that is closed when the name no longer leads to this topic. See
// shmem.Segment.Unlinked.
func (t *Topic[T]) Unlinked() <-chan struct{} { return t.core.Segment.Unlinked() }

// Owned reports whether this attachment owns the topic.
func (t *Topic[T]) Owned() bool { return t.core.Segment.Owned() }

// Own makes this attachment the owner of the topic. See shmem.Segment.Own.
func (t *Topic[T]) Own() error { return t.core.Segment.Own() }

// Segment returns the topic's segment, for what has no method here. Closing either closes both.
func (t *Topic[T]) Segment() *shmem.Segment { return t.core.Segment }

// Close ends the attachment with all its subscriptions, and the topic if this attachment owns it.
// See shmem.Segment.Close. Calls that block return ErrClosed. Close waits for the functions of
// PublishFunc and RecvFunc that run, so they must not call it. A second Close returns nil.
func (t *Topic[T]) Close() error { return t.core.Segment.Close() }

// Leak ends the attachment and leaves the topic without an owner. See shmem.Segment.Leak.
func (t *Topic[T]) Leak() error { return t.core.Segment.Leak() }

// Stats returns the state of the topic. It changes nothing and blocks no other caller. It works on
// a topic attached to read-only. The error is ErrClosed.
func (t *Topic[T]) Stats() (Stats, error) { return statsOf(t.core) }

func statsOf(t *stream.Topic) (Stats, error) {
	s, err := t.State()
	if err != nil {
		return Stats{}, err
	}
	st := Stats{
		Capacity: t.Layout.Capacity, Bytes: t.Layout.Bytes,
		Published: s.Published, Skipped: s.Skipped, Released: s.Released, Lost: s.Lost,
		Holds: s.Holds, MaxHolds: t.Layout.Holds, Lag: s.SlowestLag, Slowest: -1,
		Ended: s.Ended,
	}
	if s.Slowest != 0 {
		st.Slowest = int(format.ID(s.Slowest).Slot())
	}
	return st, nil
}
