package topic

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/compose"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
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

const lines = 128 // two cache lines: CPUs fetch them in pairs

// notA is the error of a segment that is something else.
func notA(stored *format.Type) error {
	if stored == nil {
		return errors.New("the segment is raw bytes, not a topic.Topic")
	}
	return fmt.Errorf("the segment is a %s, not a topic.Topic; see queue.Open, queue.OpenBytes", stored.Name)
}

// Open attaches to the topic of that name, or creates it, and owns it, if there is none. Capacity and Hold are
// those of the topic that is there. The errors are those of shmem.Open; a segment that is no topic of T is
// shmem.ErrMismatch.
func Open[T any](name string, opts *Options) (*Topic[T], error) { return open[T]("open", name, opts) }

// Create creates a topic and owns it. It is fs.ErrExist if there is something of that name.
func Create[T any](name string, opts *Options) (*Topic[T], error) {
	return open[T]("create", name, opts)
}

// Attach attaches to the topic of that name. It is fs.ErrNotExist if there is none.
func Attach[T any](name string, opts *Options) (*Topic[T], error) {
	return open[T]("attach", name, opts)
}

// topicType is the type of a topic of n messages.
func topicType(item, cell *format.Type, n, holds int) (*format.Type, error) {
	header, err := format.Of(reflect.TypeFor[ring.BroadcastHeader]())
	if err != nil {
		return nil, err
	}
	hold, err := format.Of(reflect.TypeFor[ring.Hold]())
	if err != nil {
		return nil, err
	}
	word, err := format.Of(reflect.TypeFor[atomic.Uint64]())
	if err != nil {
		return nil, err
	}
	parts := []layout.Part{{Name: "Topic", Type: header}}
	if holds > 0 {
		parts = append(parts, layout.Part{Name: "Holds", Type: hold, Len: holds})
	}
	if item.Size == cell.Size {
		cell = item
	}
	return layout.Struct("topic.Topic", append(parts,
		layout.Part{Name: "Slots", Type: word, Len: n},
		layout.Part{Name: "Items", Type: cell, Len: n, Align: lines})...)
}

func open[T any](op, name string, opts *Options) (*Topic[T], error) {
	fail := func(err error) (*Topic[T], error) { return nil, &shmem.Error{Op: op, Name: name, Err: err} }
	o, err := opts.filled()
	if err != nil {
		return fail(err)
	}
	item, err := format.Of(reflect.TypeFor[T]())
	if err != nil {
		var te *format.TypeError
		if errors.As(err, &te) {
			err = &shmem.TypeError{Type: te.Type, Path: te.Path, Reason: te.Reason}
		}
		return fail(err)
	}
	cellType, err := format.Of(reflect.TypeFor[cell[T]]())
	if err != nil {
		return fail(err)
	}
	made, err := topicType(item, cellType, o.Capacity, o.Hold)
	if err != nil {
		return fail(err)
	}
	plan := compose.Plan{Op: op, Name: name, Create: op != "attach", Attach: op != "create", Size: made.Size}
	plan.Type = func(payload int, stored *format.Type) (*format.Type, error) {
		if stored == nil {
			if plan.Create && payload == made.Size {
				return made, nil
			}
			return nil, notA(nil)
		}
		n := layout.Len(stored, "Items")
		if n == 0 || layout.First(stored) != "Topic" {
			return nil, notA(stored)
		}
		t, err := topicType(item, cellType, n, layout.Len(stored, "Holds"))
		if err == nil && t.Size != payload {
			err = fmt.Errorf("%d bytes, its type has %d", payload, t.Size)
		}
		return t, err
	}
	seg, m, typ, err := compose.Open(plan, o.segment())
	if err != nil {
		return nil, err
	}
	t := &Topic[T]{seg: seg.(*shmem.Segment), m: m, name: name}
	if err := t.lay(typ); err != nil {
		_ = t.seg.Close()
		return fail(err)
	}
	return t, nil
}

// lay lays the ring over the memory.
func (t *Topic[T]) lay(typ *format.Type) (err error) {
	if t.m.Peers != nil {
		t.self = uint32(t.m.Peers.Self)
	}
	if t.h, err = mem.At[ring.BroadcastHeader](t.m, 0); err != nil {
		return err
	}
	var holds []ring.Hold
	if n := layout.Len(typ, "Holds"); n > 0 {
		if holds, err = mem.SliceAt[ring.Hold](t.m, layout.Offset(typ, "Holds"), n); err != nil {
			return err
		}
	}
	slots, err := mem.SliceAt[atomic.Uint64](t.m, layout.Offset(typ, "Slots"), layout.Len(typ, "Slots"))
	if err != nil {
		return err
	}
	t.first = layout.Offset(typ, "Items")
	if t.items, err = mem.SliceAt[cell[T]](t.m, t.first, len(slots)); err != nil {
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

// Segment is the topic's segment: for Own, Linked, Size and the like. Closing either closes both.
func (t *Topic[T]) Segment() *shmem.Segment { return t.seg }

// Close ends the attachment with all its subscriptions, and the segment if this attachment owns it, see
// shmem.Segment.Close. Calls that wait return ErrClosed; functions of PublishFunc and RecvFunc that run are waited
// for, so they must not call Close. A second Close returns nil.
func (t *Topic[T]) Close() error { return t.seg.Close() }

// Leak ends the attachment and leaves the topic to itself, see shmem.Segment.Leak.
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
