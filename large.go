package shmem

import (
	"context"
	"reflect"
	"runtime/debug"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/value"
)

// A Large is a Box for a T of any size. A program with a Box of a T of 512 MiB or more does not
// compile: Load, Store and Watch pass T by value, and Go's stack frames end at 1 GiB. A Large has
// no such methods; all others are those of Box. It attaches to what a Box has created, and the
// other way round. Its methods are safe for concurrent use.
type Large[T any] struct {
	_   [0]*T // a Large[T] converts to no Large[U]
	box Box[byte]
}

// OpenLarge attaches to the box of that name. If there is none, OpenLarge creates it; see Open.
func OpenLarge[T any](name string, opts *Options) (*Large[T], error) {
	return openLarge[T]("open", name, opts, true, true)
}

// CreateLarge creates a box; see Create. If the name exists the error is fs.ErrExist.
func CreateLarge[T any](name string, opts *Options) (*Large[T], error) {
	return openLarge[T]("create", name, opts, true, false)
}

// AttachLarge attaches to the box of that name. If there is none the error is fs.ErrNotExist.
func AttachLarge[T any](name string, opts *Options) (*Large[T], error) {
	return openLarge[T]("attach", name, opts, false, true)
}

func openLarge[T any](
	op, name string, opts *Options, create, attach bool,
) (*Large[T], error) {
	c, err := opts.config()
	if err != nil {
		return nil, public(op, name, err)
	}
	schema, err := format.OfValue(reflect.TypeFor[T]())
	if err != nil {
		return nil, public(op, name, err)
	}
	a, err := segment.Open(segment.Request{
		Name: name, Config: c, Create: create, Attach: attach,
		Size: schema.Size, Schema: schema, Init: initOf[T](),
	})
	if err != nil {
		return nil, public(op, name, err)
	}
	l := &Large[T]{box: Box[byte]{seg: Segment{a, a.Mapping()}, val: value.Of(a, schema)}}
	b := segment.Binding{Invalidate: func() { l.box.ptr.Store(nil) }}
	if _, ok := any((*T)(nil)).(Dropper); ok {
		b.Drop = func() { any(l.at()).(Dropper).Drop() }
	}
	a.Bind(b)
	l.box.val.WatchHeld(schema)
	return l, nil
}

// at returns the value. The mapping is not retired yet.
func (l *Large[T]) at() *T {
	m := l.box.seg.m
	v, err := mem.At[T](m, 0)
	if err != nil {
		return nil
	}
	m.MarkExposed()
	return v
}

// Value returns the value itself; see Box.Value.
func (l *Large[T]) Value() *T {
	if l.box.Value() == nil {
		return nil
	}
	return l.at()
}

// Do calls f with the value; see Box.Do.
func (l *Large[T]) Do(f func(*T) error) error {
	return l.box.Do(func(*byte) error { return f(l.at()) })
}

// View calls f with the value, which no Update or StoreFrom changes meanwhile; see Box.View.
func (l *Large[T]) View(ctx context.Context, f func(*T) error) error {
	return l.box.View(ctx, func(*byte) error { return f(l.at()) })
}

// Update calls f with the value, alone; see Box.Update. There is room to undo a change only if the
// segment was created with UndoAlways.
func (l *Large[T]) Update(ctx context.Context, f func(*T) error) error {
	return l.box.Update(ctx, func(*byte) error { return f(l.at()) })
}

// Recover repairs a value that a process has died over; see Box.Recover.
func (l *Large[T]) Recover(ctx context.Context, f func(*T) error) error {
	return l.box.Recover(ctx, func(*byte) error { return f(l.at()) })
}

// LoadTo copies the value to *v as it was at one moment; see Box.LoadTo.
func (l *Large[T]) LoadTo(ctx context.Context, v *T) (err error) {
	b := &l.box
	if err := b.val.Snapshots(); err != nil {
		return public("load", b.Name(), err)
	}
	if !b.seg.m.Pin() {
		return public("load", b.Name(), ErrClosed)
	}
	defer b.seg.end("load", debug.SetPanicOnFault(true), &err)
	return public("load", b.Name(), b.val.Load(ctx, mem.Bytes(v)))
}

// StoreFrom replaces the value by *v; see Box.StoreFrom.
func (l *Large[T]) StoreFrom(ctx context.Context, v *T) (err error) {
	b := &l.box
	if err := b.val.Lockable(); err != nil {
		return public("store", b.Name(), err)
	}
	if !b.seg.m.Pin() {
		return public("store", b.Name(), ErrClosed)
	}
	defer b.seg.end("store", debug.SetPanicOnFault(true), &err)
	return public("store", b.Name(), b.val.Store(ctx, mem.Bytes(v)))
}

// Version returns the number of changes of the value; see Box.Version.
func (l *Large[T]) Version() uint64 { return l.box.Version() }

// Wait blocks until Version differs from seen; see Box.Wait.
func (l *Large[T]) Wait(ctx context.Context, seen uint64) error { return l.box.Wait(ctx, seen) }

// Segment returns the box's segment.
func (l *Large[T]) Segment() *Segment { return &l.box.seg }

// Name returns the name of the box; see Segment.Name.
func (l *Large[T]) Name() string { return l.box.Name() }

// Linked reports whether the name still leads to this box; see Segment.Linked.
func (l *Large[T]) Linked() bool { return l.box.Linked() }

// Unlinked returns a channel that is closed when the name no longer leads to this box; see
// Segment.Unlinked.
func (l *Large[T]) Unlinked() <-chan struct{} { return l.box.Unlinked() }

// Owned reports whether this attachment owns the box; see Segment.Owned.
func (l *Large[T]) Owned() bool { return l.box.Owned() }

// Own makes this attachment the owner; see Segment.Own.
func (l *Large[T]) Own() error { return l.box.Own() }

// Close ends the attachment; see Box.Close.
func (l *Large[T]) Close() error { return l.box.Close() }

// Leak ends the attachment and leaves the box kept; see Segment.Leak.
func (l *Large[T]) Leak() error { return l.box.Leak() }
