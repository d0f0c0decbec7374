package queue

import (
	"context"
	"reflect"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/stream"
)

// Open attaches to the queue of that name, or creates it if there is none. An existing
// queue keeps its capacity and its form. The errors are those of shmem.Open; a segment that is not
// a queue of T is shmem.ErrMismatch. Messages are copies: methods Init and Drop of T are never
// called.
func Open[T any](name string, opts *Options) (*Queue[T], error) {
	return open[T](name, stream.Open, opts)
}

// Create creates a queue. It returns fs.ErrExist if there is a segment of that name.
func Create[T any](name string, opts *Options) (*Queue[T], error) {
	return open[T](name, stream.Create, opts)
}

// Attach attaches to the queue of that name. It returns fs.ErrNotExist if there is none.
func Attach[T any](name string, opts *Options) (*Queue[T], error) {
	return open[T](name, stream.Attach, opts)
}

// AttachWait is Attach, but waits until there is a queue of that name that can be attached to, or
// until ctx is done. It returns other errors of Attach at once; see shmem.AttachWait.
func AttachWait[T any](ctx context.Context, name string, opts *Options) (q *Queue[T], err error) {
	err = attachWait(ctx, name, opts, func() error {
		q, err = Attach[T](name, opts)
		return err
	})
	return q, err
}

// attachWait calls attach until there is a segment of that name.
func attachWait(
	ctx context.Context, name string, opts interface{ config() (config, error) },
	attach func() error,
) error {
	p := newPlan(name, stream.Attach, "")
	c, err := opts.config()
	if err != nil {
		return p.Error(err)
	}
	p.Options = c.segment
	return p.AttachWait(ctx, attach)
}

func open[T any](name string, mode stream.Mode, opts *Options) (*Queue[T], error) {
	p := newPlan(name, mode, layout.QueueName)
	c, err := opts.config()
	if err != nil {
		return nil, p.Error(err)
	}
	item, err := format.Of(reflect.TypeFor[T]())
	if err != nil {
		return nil, p.Error(err)
	}
	p.Options, p.Item, p.Reserve = c.segment, item, c.reserve
	p.create = func(stride int) (*layout.Queue, error) {
		return c.stamp(layout.SpacedQueue(item, c.capacity, c.single, stride))
	}
	p.like = layout.QueueLike
	p.check = c.check
	seg, m, l, err := p.open()
	if err != nil {
		return nil, err
	}
	q := new(Queue[T])
	if err = q.bind(seg, m, l); err != nil {
		_ = seg.Close()
		return nil, p.Error(err)
	}
	q.form.attached().care = c.care
	if err = q.letters(opts); err != nil {
		_ = q.Close()
		return nil, err
	}
	return q, nil
}

// bind lays q over the mapping.
func (q *Queue[T]) bind(seg *shmem.Segment, m *mem.Mapping, l *layout.Queue) (err error) {
	if q.form, err = newItemForm(seg, m, l); err != nil {
		return err
	}
	q.capacity = l.Capacity
	if q.cells, err = mem.TableAt[T](m, l.Items, l.Capacity, l.Stride, l.Cell); err != nil {
		return err
	}
	if l.Stride == mem.SizeOf[T]() {
		q.items, err = mem.SliceAt[T](m, l.Items, l.Capacity)
	}
	q.rest = l.Cell != mem.SizeOf[T]()
	if !q.rest && !l.Stamped {
		q.many, _ = q.form.(*manyItems)
		return err
	}
	switch f := q.form.(type) {
	case *manyItems:
		q.many = &slowly.many
	case *singleItems:
		f.quick = &slowly.single
	}
	return err
}

func newItemForm(seg *shmem.Segment, m *mem.Mapping, l *layout.Queue) (itemForm, error) {
	if l.Single {
		q := new(singleItems)
		q.init(seg, m, "Options.Capacity")
		return q, q.bind(l)
	}
	q := new(manyItems)
	q.init(seg, m, "Options.Capacity")
	return q, q.bind(l)
}

// OpenBytes attaches to the queue of that name, or creates it if there is none. An
// existing queue keeps its sizes and its form. The errors are those of shmem.Open; a segment that
// is not a queue of bytes is shmem.ErrMismatch.
func OpenBytes(name string, opts *BytesOptions) (*Bytes, error) {
	return openBytes(name, stream.Open, opts)
}

// CreateBytes creates a queue. It returns fs.ErrExist if there is a segment of that
// name.
func CreateBytes(name string, opts *BytesOptions) (*Bytes, error) {
	return openBytes(name, stream.Create, opts)
}

// AttachBytes attaches to the queue of that name. It returns fs.ErrNotExist if there is none.
func AttachBytes(name string, opts *BytesOptions) (*Bytes, error) {
	return openBytes(name, stream.Attach, opts)
}

// AttachBytesWait is AttachBytes, but waits as AttachWait does.
func AttachBytesWait(ctx context.Context, name string, opts *BytesOptions) (q *Bytes, err error) {
	err = attachWait(ctx, name, opts, func() error {
		q, err = AttachBytes(name, opts)
		return err
	})
	return q, err
}

func openBytes(name string, mode stream.Mode, opts *BytesOptions) (*Bytes, error) {
	p := newPlan(name, mode, layout.BytesName)
	c, err := opts.config()
	if err != nil {
		return nil, p.Error(err)
	}
	p.Options = c.segment
	p.create = func(int) (*layout.Queue, error) {
		return c.stamp(layout.NewBytes(c.capacity, c.bytes, c.single))
	}
	p.like = func(stored, _ *format.Type) (*layout.Queue, error) {
		return layout.BytesLike(stored)
	}
	p.check = c.check
	seg, m, l, err := p.open()
	if err != nil {
		return nil, err
	}
	form, err := newByteForm(seg, m, l)
	if err != nil {
		_ = seg.Close()
		return nil, p.Error(err)
	}
	q := &Bytes{form: form}
	q.form.attached().care = c.care
	if err = q.letters(opts); err != nil {
		_ = q.Close()
		return nil, err
	}
	return q, nil
}

func newByteForm(seg *shmem.Segment, m *mem.Mapping, l *layout.Queue) (byteForm, error) {
	if l.Single {
		q := new(singleBytes)
		q.init(seg, m, "BytesOptions.Bytes")
		return q, q.bind(l)
	}
	q := new(manyBytes)
	q.init(seg, m, "BytesOptions.Capacity or Bytes")
	return q, q.bind(l)
}

// A plan is a stream.Plan for a queue, whose layouts are made by create and like.
type plan struct {
	stream.Plan
	create func(stride int) (*layout.Queue, error) // lays out a new queue
	// like lays out the queue that is there, with items of that type
	like  func(stored, item *format.Type) (*layout.Queue, error)
	check func(*layout.Queue) error // compares it with the options
}

func newPlan(name string, mode stream.Mode, kind string) *plan {
	return &plan{Plan: stream.Plan{Op: "queue " + string(mode), Name: name, Mode: mode, Kind: kind}}
}

func (p *plan) open() (*shmem.Segment, *mem.Mapping, *layout.Queue, error) {
	typeOf := func(l *layout.Queue, err error) (*format.Type, error) {
		if err != nil {
			return nil, err
		}
		return l.Type, nil
	}
	p.New = func(stride int) (*format.Type, error) { return typeOf(p.create(stride)) }
	p.Like = func(stored, item *format.Type) (*format.Type, error) {
		l, err := p.like(stored, item)
		if err == nil {
			err = p.check(l)
		}
		return typeOf(l, err)
	}
	seg, m, t, err := p.Open()
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := p.like(t, layout.Item(t))
	if err != nil {
		_ = seg.Close()
		return nil, nil, nil, p.Error(err)
	}
	return seg, m, l, nil
}
