package queue

import (
	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/stream"
)

// Open attaches to the queue of that name, or creates it and owns it if there is none. An existing
// queue keeps its capacity and its form. The errors are those of shmem.Open; a segment that is not a
// queue of T is shmem.ErrMismatch.
func Open[T any](name string, opts *Options) (*Queue[T], error) {
	return open[T](name, stream.Open, opts)
}

// Create creates a queue and owns it. It returns fs.ErrExist if there is a segment of that name.
func Create[T any](name string, opts *Options) (*Queue[T], error) {
	return open[T](name, stream.Create, opts)
}

// Attach attaches to the queue of that name. It returns fs.ErrNotExist if there is none.
func Attach[T any](name string, opts *Options) (*Queue[T], error) {
	return open[T](name, stream.Attach, opts)
}

func open[T any](name string, mode stream.Mode, opts *Options) (*Queue[T], error) {
	o := opening{op: "queue " + string(mode), name: name, mode: mode, kind: layout.QueueName}
	c, err := opts.config()
	if err != nil {
		return nil, o.error(err)
	}
	item, err := stream.ItemType[T]()
	if err != nil {
		return nil, o.error(err)
	}
	o.options = c.segment
	o.create = func() (*layout.Queue, error) { return layout.NewQueue(item, c.capacity, c.single) }
	o.like = func(stored *format.Type) (*layout.Queue, error) { return layout.QueueLike(stored, item) }
	seg, m, l, err := o.open()
	if err != nil {
		return nil, err
	}
	q := new(Queue[T])
	if q.items, err = mem.SliceAt[T](m, l.Items, l.Capacity); err == nil {
		q.form, err = newItemForm(seg, m, l)
		q.many, _ = q.form.(*manyItems)
	}
	if err != nil {
		_ = seg.Close()
		return nil, o.error(err)
	}
	return q, nil
}

func newItemForm(seg *shmem.Segment, m *mem.Mapping, l *layout.Queue) (itemForm, error) {
	if l.Single {
		q := new(singleItems)
		q.init(seg, m)
		return q, q.bind(l)
	}
	q := new(manyItems)
	q.init(seg, m)
	return q, q.bind(l)
}

// OpenBytes attaches to the queue of that name, or creates it and owns it if there is none. An existing
// queue keeps its sizes and its form. The errors are those of shmem.Open; a segment that is not a
// queue of bytes is shmem.ErrMismatch.
func OpenBytes(name string, opts *BytesOptions) (*Bytes, error) {
	return openBytes(name, stream.Open, opts)
}

// CreateBytes creates a queue and owns it. It returns fs.ErrExist if there is a segment of that name.
func CreateBytes(name string, opts *BytesOptions) (*Bytes, error) {
	return openBytes(name, stream.Create, opts)
}

// AttachBytes attaches to the queue of that name. It returns fs.ErrNotExist if there is none.
func AttachBytes(name string, opts *BytesOptions) (*Bytes, error) {
	return openBytes(name, stream.Attach, opts)
}

func openBytes(name string, mode stream.Mode, opts *BytesOptions) (*Bytes, error) {
	o := opening{op: "queue " + string(mode), name: name, mode: mode, kind: layout.BytesName}
	c, err := opts.config()
	if err != nil {
		return nil, o.error(err)
	}
	o.options = c.segment
	o.create = func() (*layout.Queue, error) { return layout.NewBytes(c.capacity, c.bytes, c.single) }
	o.like = layout.BytesLike
	seg, m, l, err := o.open()
	if err != nil {
		return nil, err
	}
	form, err := newByteForm(seg, m, l)
	if err != nil {
		_ = seg.Close()
		return nil, o.error(err)
	}
	return &Bytes{form}, nil
}

func newByteForm(seg *shmem.Segment, m *mem.Mapping, l *layout.Queue) (byteForm, error) {
	if l.Single {
		q := new(singleBytes)
		q.init(seg, m)
		return q, q.bind(l)
	}
	q := new(manyBytes)
	q.init(seg, m)
	return q, q.bind(l)
}

// An opening is a queue on its way to be opened.
type opening struct {
	op, name string
	mode     stream.Mode
	kind     string
	options  *shmem.Options
	create   func() (*layout.Queue, error)                    // lays out a new queue
	like     func(stored *format.Type) (*layout.Queue, error) // lays out the queue that is there
}

func (o *opening) error(err error) error { return &shmem.Error{Op: o.op, Name: o.name, Err: err} }

func (o *opening) open() (*shmem.Segment, *mem.Mapping, *layout.Queue, error) {
	typeOf := func(l *layout.Queue, err error) (*format.Type, error) {
		if err != nil {
			return nil, err
		}
		return l.Type, nil
	}
	plan := stream.Plan{
		Op: o.op, Name: o.name, Mode: o.mode, Options: o.options, Kind: o.kind,
		New:  func() (*format.Type, error) { return typeOf(o.create()) },
		Like: func(stored *format.Type) (*format.Type, error) { return typeOf(o.like(stored)) },
	}
	seg, m, t, err := plan.Open()
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := o.like(t)
	if err != nil {
		_ = seg.Close()
		return nil, nil, nil, o.error(err)
	}
	return seg, m, l, nil
}
