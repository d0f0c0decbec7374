package shmem

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
)

// A Box is a segment seen as one value of type T. Its methods are safe for concurrent use; the value
// itself is memory that other goroutines and processes change.
type Box[T any] struct {
	_     [0]*T // a Box[T] converts to no Box[U]
	value atomic.Pointer[T]
	seg   *Segment
}

// Open attaches to the box of that name, or creates it, and owns it, if there is none.
func Open[T any](name string, opts *Options) (*Box[T], error) {
	return open[T]("open", name, opts, true, true)
}

// Create creates a box and owns it. It is fs.ErrExist if there is one.
func Create[T any](name string, opts *Options) (*Box[T], error) {
	return open[T]("create", name, opts, true, false)
}

// Attach attaches to the box of that name. It is fs.ErrNotExist if there is none.
func Attach[T any](name string, opts *Options) (*Box[T], error) {
	return open[T]("attach", name, opts, false, true)
}

func open[T any](op, name string, opts *Options, create, attach bool) (*Box[T], error) {
	o, err := opts.filled()
	if err != nil {
		return nil, wrap(op, name, err)
	}
	schema, err := schemaOf[T]()
	if err != nil {
		return nil, wrap(op, name, err)
	}
	r := &request{
		op: op, name: name, opts: o, size: schema.Size, schema: schema,
		create: create, attach: attach, init: initOf[T](o),
	}
	s, err := r.run()
	if err != nil {
		return nil, wrap(op, name, err)
	}
	return newBox[T](s, schema), nil
}

// BoxOf sees a segment as a T. The size, the alignment and, where one is stored, the schema must
// fit; where none is stored, the schema of T is stored now. A segment has one box, and closing
// either closes both. The value is dropped like that of any other box.
func BoxOf[T any](s *Segment) (*Box[T], error) {
	b, err := boxOf[T](s)
	return b, wrap("box of", s.name, err)
}

func boxOf[T any](s *Segment) (*Box[T], error) {
	schema, err := schemaOf[T]()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed.Load():
		return nil, ErrClosed
	case s.hidden != nil:
		return nil, errors.New("the segment has a box already")
	case s.head == nil:
		if schema.Size > s.Size() {
			return nil, fmt.Errorf("%w: size: here %d bytes, in the file %d", ErrMismatch, schema.Size, s.Size())
		}
		if s.opts.Offset%int64(schema.Align) != 0 {
			return nil, fmt.Errorf("%w: offset %d is not a multiple of the type's alignment %d", ErrMismatch, s.opts.Offset, schema.Align)
		}
		return newBox[T](s, schema), nil
	}
	if err := enter(s.file, s.id == format.Nobody, s.deadline()); err != nil {
		return nil, err
	}
	step.Reach(step.SchemaGate)
	defer leave(s.file)
	st, err := s.file.Stat()
	if err != nil {
		return nil, err
	}
	_, page, err := readHeader(s.file, st)
	if err != nil {
		return nil, err
	}
	rec, stored, err := s.readSchema(page)
	if err != nil {
		return nil, err
	}
	missing, err := s.compare(schema, rec, stored)
	if err != nil {
		return nil, err
	}
	if missing != nil && s.canWriteSchema() {
		if err := s.storeSchema(schema, *missing); err != nil {
			return nil, err
		}
		step.Reach(step.SchemaWrite)
	}
	return newBox[T](s, schema), nil
}

func schemaOf[T any]() (*format.Type, error) {
	t, err := format.Of(reflect.TypeFor[T]())
	if err != nil {
		var te *format.TypeError
		if errors.As(err, &te) {
			return nil, &TypeError{te.Type, te.Path, te.Reason}
		}
		return nil, err
	}
	return t, nil
}

func initOf[T any](o *Options) func(*mem.Mapping) error {
	_, ok := any((*T)(nil)).(Initializer)
	if !ok && o.Init == nil {
		return nil
	}
	return func(m *mem.Mapping) error {
		v, err := mem.At[T](m, 0)
		if err != nil {
			return err
		}
		m.HandOut()
		if o.Init != nil {
			return o.Init(v)
		}
		return any(v).(Initializer).Init()
	}
}

// newBox completes the box of s, which nobody else has yet, or whose lock is held.
func newBox[T any](s *Segment, t *format.Type) *Box[T] {
	b := &Box[T]{seg: s}
	s.plan = planOf(t)
	s.hidden = func() { b.value.Store(nil) }
	if _, ok := any((*T)(nil)).(Dropper); ok {
		s.drop = func() {
			if v, err := mem.At[T](s.m, 0); err == nil {
				s.m.HandOut()
				any(v).(Dropper).Drop()
			}
		}
	}
	return b
}

// Value is the value itself: the same pointer every time, valid until Close, nil after it. Access is
// not synchronised: use atomics or locks of package psync in T, or the methods that copy. A pointer
// kept beyond Close faults; it never leads to other memory. If the box is read-only, writing faults.
func (b *Box[T]) Value() *T {
	if v := b.value.Load(); v != nil {
		return v
	}
	return b.first()
}

// first makes the pointer: the mapping's address space is not used again once it was handed out.
func (b *Box[T]) first() *T {
	s := b.seg
	if !s.m.Pin() {
		return nil
	}
	defer s.m.Unpin()
	if s.closed.Load() {
		return nil
	}
	v, err := mem.At[T](s.m, 0)
	if err != nil {
		return nil
	}
	s.m.HandOut()
	b.value.Store(v)
	if s.closed.Load() { // Close may have been here meanwhile
		b.value.Store(nil)
	}
	return v
}

// Do calls f with the value and returns its error. Close waits for it, so f must not call Close. If
// memory of the box cannot be accessed in f, in the calling goroutine, because somebody truncated the
// file, Do returns a *FaultError. Other panics pass. Like Value, it does not synchronise access.
func (b *Box[T]) Do(f func(*T) error) (err error) {
	v, err := b.pinned()
	if err != nil {
		return wrap("do", b.seg.name, err)
	}
	defer b.seg.end("do", debug.SetPanicOnFault(true), &err)
	return f(v)
}

// Segment is the box's segment.
func (b *Box[T]) Segment() *Segment { return b.seg }

// Owned reports whether this attachment owns the box.
func (b *Box[T]) Owned() bool { return b.seg.Owned() }

// Own makes this attachment the owner, see Segment.Own.
func (b *Box[T]) Own() error { return b.seg.Own() }

// Close ends the attachment: see Segment.Close. If this attachment owns the box, or is the last one at
// an orphaned one, the value is dropped as well: see Dropper.
func (b *Box[T]) Close() error { return b.seg.Close() }

// Leak ends the attachment and leaves the box to itself, see Segment.Leak. The value is not dropped.
func (b *Box[T]) Leak() error { return b.seg.Leak() }
