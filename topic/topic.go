package topic

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/wait"
)

// A Topic is an attachment to a topic of messages of type T. T must be free of Go pointers, as for shmem.Box. All
// methods may be called by any number of goroutines at a time.
type Topic[T any] struct {
	_     [0]*T // a Topic[T] converts to no Topic[U]
	seg   *shmem.Segment
	m     *mem.Mapping
	name  string
	self  uint32 // the attachment's id, by which it claims
	h     *ring.BroadcastHeader
	ring  *ring.Broadcast
	items []cell[T]
	first int // where the items begin in the payload

	claim sync.Mutex
	pub   *ring.Publisher // under claim

	looked atomic.Int64 // when Try last looked for the dead
}

// A cell is a message in its place: whole words, for it is copied word by word.
type cell[T any] struct {
	_     [0]uint64
	Value T
}

// Open attaches to the topic of that name, or creates it, and owns it, if there is none. Capacity and Holds are
// those of the topic that is there. The errors are those of shmem.Open; a segment that is no topic of T is
// shmem.ErrMismatch.
func Open[T any](name string, opts *Options) (*Topic[T], error) {
	return open[T](name, stream.Open, opts)
}

// Create creates a topic and owns it. It is fs.ErrExist if there is something of that name.
func Create[T any](name string, opts *Options) (*Topic[T], error) {
	return open[T](name, stream.Create, opts)
}

// Attach attaches to the topic of that name. It is fs.ErrNotExist if there is none.
func Attach[T any](name string, opts *Options) (*Topic[T], error) {
	return open[T](name, stream.Attach, opts)
}

func open[T any](name string, mode stream.Mode, opts *Options) (*Topic[T], error) {
	op := "topic " + string(mode)
	fail := func(err error) (*Topic[T], error) { return nil, &shmem.Error{Op: op, Name: name, Err: err} }
	o, err := opts.filled()
	if err != nil {
		return fail(err)
	}
	item, err := stream.ItemType[T]()
	if err != nil {
		return fail(err)
	}
	typeOf := func(l *layout.Topic, err error) (*format.Type, error) {
		if err != nil {
			return nil, err
		}
		return l.Type, nil
	}
	plan := stream.Plan{
		Op: op, Name: name, Mode: mode, Options: o.segment(), Kind: layout.TopicName,
		New:  func() (*format.Type, error) { return typeOf(layout.NewTopic(item, o.Capacity, o.Holds)) },
		Like: func(stored *format.Type) (*format.Type, error) { return typeOf(layout.TopicLike(stored, item)) },
	}
	seg, m, typ, err := plan.Open()
	if err != nil {
		return nil, err
	}
	t := &Topic[T]{seg: seg, m: m, name: name}
	l, err := layout.TopicLike(typ, item)
	if err == nil {
		err = t.bind(l)
	}
	if err != nil {
		_ = t.seg.Close()
		return fail(err)
	}
	return t, nil
}

// bind lays the ring over the memory.
func (t *Topic[T]) bind(l *layout.Topic) (err error) {
	if t.m.Peers != nil {
		t.self = uint32(t.m.Peers.Self)
	}
	if t.h, err = mem.At[ring.BroadcastHeader](t.m, 0); err != nil {
		return err
	}
	holds, err := mem.SliceAt[ring.Hold](t.m, l.HoldsAt, l.Holds)
	if err != nil {
		return err
	}
	slots, err := mem.SliceAt[atomic.Uint64](t.m, l.Slots, l.Capacity)
	if err != nil {
		return err
	}
	t.first = l.Items
	if t.items, err = mem.SliceAt[cell[T]](t.m, t.first, l.Capacity); err != nil {
		return err
	}
	if t.ring, err = ring.NewBroadcast(t.h, slots, holds); err != nil {
		return err
	}
	t.pub = t.ring.Publisher(t.self)
	return nil
}

// Cap is how many messages are kept.
func (t *Topic[T]) Cap() int { return len(t.items) }

// Name returns the name of the topic's segment.
func (t *Topic[T]) Name() string { return t.seg.Name() }

// Linked reports whether the name still leads to this topic. See shmem.Segment.Linked.
func (t *Topic[T]) Linked() bool { return t.seg.Linked() }

// Owned reports whether this attachment owns the topic.
func (t *Topic[T]) Owned() bool { return t.seg.Owned() }

// Own makes this attachment the owner of the topic. See shmem.Segment.Own.
func (t *Topic[T]) Own() error { return t.seg.Own() }

// Segment returns the topic's segment, for what has no method here. Closing either closes both.
func (t *Topic[T]) Segment() *shmem.Segment { return t.seg }

// Close ends the attachment with all its subscriptions, and the topic if this attachment owns it.
// See shmem.Segment.Close. Calls that wait return ErrClosed. Close waits for the functions of
// PublishFunc and RecvFunc that run, so they must not call it. A second Close returns nil.
func (t *Topic[T]) Close() error { return t.seg.Close() }

// Leak ends the attachment and leaves the topic without an owner. See shmem.Segment.Leak.
func (t *Topic[T]) Leak() error { return t.seg.Leak() }

// End ends the topic for all publishers in all processes: publishing calls return ErrEnded from now on, receiving
// calls io.EOF after the last message. It may be called by anyone, more than once. What another publishes at that
// moment may come too late for a subscriber that has seen io.EOF. ErrReadOnly, ErrClosed.
func (t *Topic[T]) End() error {
	if err := t.enter(); err != nil {
		return err
	}
	defer t.m.Unpin()
	t.ring.Close()
	step.Reach(step.TopicEnded)
	wait.Wake(t.m, &t.h.RecvArmed)
	wait.Wake(t.m, &t.h.SendArmed)
	return nil
}

// enter pins the mapping for a call that writes.
func (t *Topic[T]) enter() error {
	if !t.m.Pin() {
		return shmem.ErrClosed
	}
	if !t.writes() {
		t.m.Unpin()
		return shmem.ErrReadOnly
	}
	return nil
}

func (t *Topic[T]) writes() bool { return t.self != 0 && t.m.Writable() }

func (t *Topic[T]) object() robust.Object { return robust.Object{M: t.m, Me: format.ID(t.self)} }

func (t *Topic[T]) alive(id uint32) bool { return t.m.Peers != nil && t.m.Peers.Alive(format.ID(id)) }

// repair frees what the dead hold, and reports whether there was something.
func (t *Topic[T]) repair() bool {
	if !t.writes() {
		return false
	}
	skips, holds := t.ring.Repair(t.alive)
	if skips+holds == 0 {
		return false
	}
	t.released(uint64(holds))
	step.Reach(step.TopicRepaired)
	wait.Wake(t.m, &t.h.RecvArmed)
	wait.Wake(t.m, &t.h.SendArmed)
	return true
}

// lookNow is repair for who does not wait, at most every 10 ms.
func (t *Topic[T]) lookNow() bool {
	return wait.Due(&t.looked) && t.repair()
}

// patience is how often a call is tried before it rests between tries, unless it has slept in between: more often
// only where somebody scribbles, or very many contend.
const patience = 256

// tries counts those of one call.
type tries struct {
	n     int
	since time.Time
}

// again comes before another try of a call.
func (tp *Topic[T]) again(ctx context.Context, t *tries) error {
	if t.n++; t.n < patience {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if tp.m.Closed() {
		return shmem.ErrClosed
	}
	if now := time.Now(); now.Sub(t.since) > patience*10*time.Microsecond {
		t.n, t.since = 0, now
		return nil
	}
	tp.lookNow()
	time.Sleep(min(time.Duration(t.n-patience+1)*time.Microsecond, time.Millisecond))
	return nil
}

func (t *Topic[T]) corrupt(err error) error {
	return fmt.Errorf("topic %s: %w (%v)", t.name, shmem.ErrCorrupt, err)
}

// load copies the message at a position, which may be overwritten meanwhile.
func (t *Topic[T]) load(pos uint64, v *T) {
	i := t.ring.Index(pos)
	t.m.Load(mem.Bytes(v), t.first+i*mem.SizeOf[cell[T]]())
}

func (t *Topic[T]) store(pos uint64, v *T) {
	i := t.ring.Index(pos)
	t.m.Store(t.first+i*mem.SizeOf[cell[T]](), mem.Bytes(v))
}
