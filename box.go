package shmem

import (
	"context"
	"iter"
	"reflect"
	"runtime/debug"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/value"
)

// A Box is a segment seen as one value of type T. Its methods are safe for concurrent use; the
// value itself is memory that other goroutines and processes change. A T of 512 MiB or more needs
// a Large instead.
//
// Functions that the caller passes to a method return their errors as they are; all other errors
// are an *Error.
type Box[T any] struct {
	_   [0]*T // a Box[T] converts to no Box[U]
	ptr atomic.Pointer[T]
	seg Segment
	val value.Value
}

// Open attaches to the box of that name. If there is none, Open creates it, and owns it unless
// Options.Lifetime says otherwise.
//
// Of the arguments it returns ErrBadName, ErrBadOption and ErrBadType; of a file that it cannot use
// ErrMismatch, ErrForeign, ErrNotRegular, ErrOtherUser, ErrCopied, ErrVersion, ErrCorrupt and
// fs.ErrPermission; and where it could not finish ErrNoSpace, ErrNoSlot, ErrBusy, ErrContended, and
// the error of Init. The other functions that create or attach return errors of the same list.
func Open[T any](name string, opts *Options) (*Box[T], error) {
	return open[T]("open", name, opts, true, true)
}

// Create creates a box, and owns it unless Options.Lifetime says otherwise. If the name exists the
// error is fs.ErrExist.
func Create[T any](name string, opts *Options) (*Box[T], error) {
	return open[T]("create", name, opts, true, false)
}

// Attach attaches to the box of that name. If there is none the error is fs.ErrNotExist.
func Attach[T any](name string, opts *Options) (*Box[T], error) {
	return open[T]("attach", name, opts, false, true)
}

func open[T any](op, name string, opts *Options, create, attach bool) (*Box[T], error) {
	c, err := opts.config()
	if err != nil {
		return nil, public(op, name, err)
	}
	schema, err := format.OfValue(reflect.TypeFor[T]())
	if err != nil {
		return nil, public(op, name, err)
	}
	r := segment.Request{
		Name: name, Config: c, Create: create, Attach: attach,
		Size: schema.Size, Schema: schema, Init: initOf[T](),
	}
	if c.Foreign {
		r.Foreign = format.OfForeign(reflect.TypeFor[T]())
	}
	a, err := segment.Open(r)
	if err != nil {
		return nil, public(op, name, err)
	}
	b := newBox[T](a, schema)
	if a.Foreign() {
		if err := b.bindForeign(schema); err != nil {
			return nil, public(op, name, err)
		}
		return b, nil
	}
	a.Bind(b.binding())
	b.val.WatchHeld(schema)
	return b, nil
}

// bindForeign binds the box to a foreign segment that was opened for it. If the value's Check fails
// or panics the segment is closed.
func (b *Box[T]) bindForeign(schema *format.Type) error {
	bound := false
	defer func() {
		if !bound {
			_ = b.seg.a.Detach(false)
		}
	}()
	err := b.seg.a.BindTyped(schema, b.binding())
	bound = err == nil
	return err
}

// BoxOf returns the box of a segment, which it sees as a T. The size, the alignment and, where a
// schema is stored, the schema must fit; where none is stored, that of T is stored now. A segment
// has one box, and closing either closes both. The value is dropped like that of any other box. In
// a foreign segment a Checker is called first.
func BoxOf[T any](s *Segment) (*Box[T], error) {
	const op = "box of"
	schema, err := format.OfValue(reflect.TypeFor[T]())
	if err != nil {
		return nil, public(op, s.Name(), err)
	}
	if s.a.OfOthers() {
		if err := format.OfForeign(reflect.TypeFor[T]()); err != nil {
			return nil, public(op, s.Name(), err)
		}
	}
	b := newBox[T](s.a, schema)
	if err := s.a.BindTyped(schema, b.binding()); err != nil {
		return nil, public(op, s.Name(), err)
	}
	b.val.WatchHeld(schema)
	return b, nil
}

func newBox[T any](a *segment.Attachment, t *format.Type) *Box[T] {
	return &Box[T]{seg: Segment{a, a.Mapping()}, val: value.Of(a, t)}
}

// initOf returns what prepares a new T; nil if T is no Initializer.
func initOf[T any]() func(*mem.Mapping) error {
	if _, ok := any((*T)(nil)).(Initializer); !ok {
		return nil
	}
	return func(m *mem.Mapping) error {
		v, err := mem.At[T](m, 0)
		if err != nil {
			return err
		}
		m.MarkExposed()
		return any(v).(Initializer).Init()
	}
}

// binding returns what the end of the attachment does to the box.
func (b *Box[T]) binding() segment.Binding {
	var drop func()
	if _, ok := any((*T)(nil)).(Dropper); ok {
		drop = b.drop
	}
	var check func() error
	if _, ok := any((*T)(nil)).(Checker); ok {
		check = b.check
	}
	return segment.Binding{Invalidate: func() { b.ptr.Store(nil) }, Drop: drop, Check: check}
}

func (b *Box[T]) check() error {
	m := b.seg.m
	v, err := mem.At[T](m, 0)
	if err != nil {
		return err
	}
	m.MarkExposed()
	return any(v).(Checker).Check()
}

func (b *Box[T]) drop() {
	m := b.seg.m
	if v, err := mem.At[T](m, 0); err == nil {
		m.MarkExposed()
		any(v).(Dropper).Drop()
	}
}

// Value returns the value itself: the same pointer every time, valid until Close, nil after it.
// Access is not synchronised: use atomics or locks of package psync in T, or the methods that
// copy. A pointer that is used after Close faults; it never leads to other memory. If the box is
// read-only, writing faults.
func (b *Box[T]) Value() *T {
	if v := b.ptr.Load(); v != nil {
		return v
	}
	return b.first()
}

// first makes the pointer. The mapping's address space is not used again once a pointer is out.
func (b *Box[T]) first() *T {
	m := b.seg.m
	if !m.Pin() {
		return nil
	}
	defer m.Unpin()
	if b.seg.a.Closed() {
		return nil
	}
	v, err := mem.At[T](m, 0)
	if err != nil {
		return nil
	}
	m.MarkExposed()
	b.ptr.Store(v)
	if b.seg.a.Closed() { // Close may have invalidated the pointer before it was stored
		b.ptr.Store(nil)
	}
	return v
}

// pinned pins the mapping and returns the value. end unpins.
func (b *Box[T]) pinned() (*T, error) {
	m := b.seg.m
	if !m.Pin() {
		return nil, ErrClosed
	}
	v := b.Value()
	if v == nil {
		m.Unpin()
		return nil, ErrClosed
	}
	return v, nil
}

// begin is pinned for a call that locks.
func (b *Box[T]) begin() (*T, error) {
	if err := b.val.Lockable(); err != nil {
		return nil, err
	}
	return b.pinned()
}

// Do calls f with the value and returns its error as it is. Close waits for Do, so f must not call
// Close. If f, in the calling goroutine, accesses memory of the box that cannot be accessed
// because its file was truncated, the error is a *FaultError. Other panics pass. Like Value, Do
// does not synchronise access.
func (b *Box[T]) Do(f func(*T) error) (err error) {
	v, err := b.pinned()
	if err != nil {
		return public("do", b.Name(), err)
	}
	defer b.seg.end("do", debug.SetPanicOnFault(true), &err)
	return f(v)
}

// View calls f with the value, which no Update or Store changes meanwhile, and returns its error
// as it is. f must not change the value. Any number of goroutines and processes can be in View at
// a time. View waits for an Update in progress, and an Update waits for View. If the process that
// changes the value dies, its change is undone first.
//
// f must not call View, Load, Update, Store or Close of the same box: an Update that waits for the
// outer View blocks the inner call, and both wait for ever.
func (b *Box[T]) View(ctx context.Context, f func(*T) error) (err error) {
	v, err := b.begin()
	if err != nil {
		return public("view", b.Name(), err)
	}
	defer b.seg.end("view", debug.SetPanicOnFault(true), &err)
	if err := b.val.RLock(ctx); err != nil {
		return public("view", b.Name(), err)
	}
	defer b.val.RUnlock()
	return f(v)
}

// Update calls f with the value, alone, and returns its error as it is. What f changes counts as a
// whole or not at all: if f returns an error or panics, or if the process dies, the value is as it
// was before. Fields of sync/atomic and psync types are not undone. f must not call View, Load,
// Update, Store or Close of the same box.
//
// In a segment without an undo image (see Options.Undo), what f has changed before an error stays.
// After a panic or a death, calls return ErrOwnerDied until Recover.
func (b *Box[T]) Update(ctx context.Context, f func(*T) error) (err error) {
	v, err := b.begin()
	if err != nil {
		return public("update", b.Name(), err)
	}
	defer b.seg.end("update", debug.SetPanicOnFault(true), &err)
	if err := b.val.Lock(ctx); err != nil {
		return public("update", b.Name(), err)
	}
	var phase value.Phase
	defer b.val.End(&phase, &err)
	b.val.Begin(&phase)
	err = f(v)
	phase = value.Ran
	return err
}

// Recover repairs a value that a process has died over, where there is no undo image. It calls f
// with the value, alone, and returns its error as it is. If f returns nil the box is usable again.
// If f fails or panics, or if this process dies, the box stays as it was. If no process has died
// over the value, Recover does not call f and returns nil.
func (b *Box[T]) Recover(ctx context.Context, f func(*T) error) (err error) {
	v, err := b.begin()
	if err != nil {
		return public("recover", b.Name(), err)
	}
	defer b.seg.end("recover", debug.SetPanicOnFault(true), &err)
	broken, err := b.val.Repair(ctx)
	if err != nil {
		return public("recover", b.Name(), err)
	}
	defer b.val.Unlock()
	if !broken {
		return nil
	}
	if err := f(v); err != nil {
		return err
	}
	b.val.Repaired()
	return nil
}

// Load returns a copy of the value as it was at one moment between two changes by Update or Store.
// It takes no lock, and waits neither for a process that changes the value nor for one that has
// died over it. Fields of sync/atomic types may be newer than the rest; locks of package psync are
// zero in the copy.
//
// If the value changes faster than it can be copied, Load takes the lock as View does. A read-only
// box cannot: there the error is ErrContended.
//
// In a segment without an undo image (see Options.Undo), Load waits, until ctx is done, while a
// process changes the value. When a process has died over it, Load returns ErrOwnerDied until
// Recover.
func (b *Box[T]) Load(ctx context.Context) (v T, err error) {
	err = b.LoadTo(ctx, &v)
	return v, err
}

// LoadTo is Load into *v. It copies a large value once instead of three times, and suits values
// with locks and atomics, which `go vet` does not want copied. After an error *v is undefined.
func (b *Box[T]) LoadTo(ctx context.Context, v *T) (err error) {
	if err := b.val.Snapshots(); err != nil {
		return public("load", b.Name(), err)
	}
	if !b.seg.m.Pin() {
		return public("load", b.Name(), ErrClosed)
	}
	defer b.seg.end("load", debug.SetPanicOnFault(true), &err)
	if err := b.val.Load(ctx, mem.Bytes(v)); err != nil {
		return public("load", b.Name(), err)
	}
	return nil
}

// Store replaces the value by v, as a whole: View, Update and Load see the old value or the new
// one, also if the process dies. Fields of sync/atomic and psync types stay as they are.
func (b *Box[T]) Store(ctx context.Context, v T) error { return b.StoreFrom(ctx, &v) }

// StoreFrom is Store of *v. It suits large values, and those with locks and atomics, which `go
// vet` does not want copied.
func (b *Box[T]) StoreFrom(ctx context.Context, v *T) (err error) {
	if err := b.val.Lockable(); err != nil {
		return public("store", b.Name(), err)
	}
	if !b.seg.m.Pin() {
		return public("store", b.Name(), ErrClosed)
	}
	defer b.seg.end("store", debug.SetPanicOnFault(true), &err)
	if err := b.val.Store(ctx, mem.Bytes(v)); err != nil {
		return public("store", b.Name(), err)
	}
	return nil
}

// Version returns the number of changes of the value by Update and Store. It never decreases while
// the segment exists. An Update that failed may count too. It is 0 after Close, for a foreign
// segment, and if the file was truncated.
func (b *Box[T]) Version() uint64 { return b.val.Version() }

// Wait blocks until Version differs from seen. Changes that follow each other fast may wake it
// once. It may also return after the change of a dead process was undone. The error is ErrClosed if
// the box is closed, also meanwhile, and that of ctx when it is done. Without an undo image it is
// ErrOwnerDied when a process has died over the value.
func (b *Box[T]) Wait(ctx context.Context, seen uint64) (err error) {
	if err := b.val.Waitable(); err != nil {
		return public("wait", b.Name(), err)
	}
	if !b.seg.m.Pin() {
		return public("wait", b.Name(), ErrClosed)
	}
	defer b.seg.end("wait", debug.SetPanicOnFault(true), &err)
	return public("wait", b.Name(), b.val.Wait(ctx, seen))
}

// Watch yields the value, and again each time it has changed by Update or Store. It always yields
// the latest value, so a slow loop misses those in between. It looks at ctx before every value. It
// ends with an error: that of ctx, ErrClosed when the box is closed, or one of Load.
func (b *Box[T]) Watch(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			seen := b.Version()
			var v T
			err := public("watch", b.Name(), errs.Context(ctx))
			if err == nil {
				v, err = b.Load(ctx)
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			if !yield(v, nil) {
				return
			}
			if err := b.Wait(ctx, seen); err != nil {
				var none T
				yield(none, err)
				return
			}
		}
	}
}

// Segment returns the box's segment.
func (b *Box[T]) Segment() *Segment { return &b.seg }

// Name returns the name of the box; see Segment.Name.
func (b *Box[T]) Name() string { return b.seg.Name() }

// Linked reports whether the name still leads to this box; see Segment.Linked.
func (b *Box[T]) Linked() bool { return b.seg.Linked() }

// Unlinked returns a channel that is closed when the name no longer leads to this box; see
// Segment.Unlinked.
func (b *Box[T]) Unlinked() <-chan struct{} { return b.seg.Unlinked() }

// Owned reports whether this attachment owns the box; see Segment.Owned.
func (b *Box[T]) Owned() bool { return b.seg.Owned() }

// Own makes this attachment the owner; see Segment.Own.
func (b *Box[T]) Own() error { return b.seg.Own() }

// Close ends the attachment; see Segment.Close. If this attachment owns the box, or is the last
// one of an orphaned box, it also unlinks the name and drops the value (see Dropper).
func (b *Box[T]) Close() error { return b.seg.Close() }

// Leak ends the attachment and leaves the box kept; see Segment.Leak. The value is not dropped.
func (b *Box[T]) Leak() error { return b.seg.Leak() }
