package inspect

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/value"
)

// An Assignment sets a part of a value. Path is as for Value.At. Value is text:
//
//   - numbers as in Go (0x40, 1e9), true and false;
//   - a shmem.Text as it is, or in Go's quotes;
//   - an array of bytes as text, in quotes, or as 0x and hex digits;
//   - a time.Duration as 1.5s, or as nanoseconds;
//   - structs, arrays and lists as JSON; struct fields that the JSON lacks keep their values.
type Assignment struct{ Path, Value string }

// Set changes parts of the value of segment name: all of them, or none if it returns an error. It
// is one Update under the box's lock, for which it waits until ctx is done.
//
// Set attaches like any other process, but does not take over the cleanup of a dead owner's
// segment: it does not know the type's Drop. What does not fit the schema gives an error before
// anything is locked. A field of a sync/atomic type is stored atomically by itself; locks cannot be
// set. opts is as for shmem.Attach, nil for the defaults.
//
// The errors are those of shmem.Attach and Box.Update, and others of the path and the value; of
// segments that cannot be set they are shmem.ErrForeign (no schema), shmem.ErrMismatch (raw bytes)
// and fs.ErrNotExist (garbage).
func Set(ctx context.Context, name string, opts *shmem.Options, all ...Assignment) error {
	err := set(ctx, name, opts, all)
	var e *shmem.Error
	if errors.As(err, &e) {
		return err
	}
	return segment.Shmem.Error("inspect set", name, err)
}

func set(ctx context.Context, name string, opts *shmem.Options, all []Assignment) error {
	dir := ""
	if opts != nil {
		dir = opts.Dir
	}
	t, err := checkSet(dir, name, all)
	if err != nil {
		return err
	}
	a, err := attachStored(name, opts, t)
	if err != nil {
		return err
	}
	v, m := value.OfStored(a, t), a.Mapping()
	err = v.Update(ctx, func() error {
		old := make([]byte, t.Size)
		m.Load(old, 0)
		b := bytes.Clone(old)
		if err := assign(Value{t, b, 0, nil}, all); err != nil {
			return err
		}
		return store(m, Value{t, old, 0, nil}, b)
	})
	return errors.Join(err, a.Detach(false))
}

// attachStored attaches to a segment whose value has the type t, without a duty to clean up.
func attachStored(name string, opts *shmem.Options, t *format.Type) (*segment.Attachment, error) {
	config, err := segment.Shmem.Config(opts)
	if err != nil {
		return nil, err
	}
	config.Disk = true // it is there
	return segment.Open(segment.Request{
		Name: name, Config: config, Attach: true, NoCleanup: true,
		Compose: func(int, *format.Type) (*format.Type, error) { return t, nil },
	})
}

// checkSet tries the assignments on a copy of the value, so that a mistake in them disturbs no
// process, and returns the type of the value.
func checkSet(dir, name string, all []Assignment) (*format.Type, error) {
	o, err := open(dir, name)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	if err := o.settable("set"); err != nil {
		return nil, err
	}
	snap, err := o.snapshot()
	if err != nil {
		return nil, err
	}
	return o.t, assign(snap.Value(), all)
}

// noBox is the error of settable for a segment that is no box.
func noBox(what, verb string) error {
	return fmt.Errorf("%s cannot be %s: its processes change it without the box's lock", what, verb)
}

// settable returns why the value cannot be set or recovered, or nil. The verb is that in the error.
func (o *Observer) settable(verb string) error {
	switch {
	case o.info.State == shmem.Foreign:
		return fmt.Errorf("%w: without a schema there is nothing to check the value against",
			shmem.ErrForeign)
	case o.info.Err != nil:
		return o.info.Err
	case o.info.State == shmem.Garbage:
		return fmt.Errorf("%w: it is garbage: its owner has died, and the next Open starts "+
			"afresh; it can be read but not set", fs.ErrNotExist)
	case layout.Stream(o.t) != "":
		return noBox("a "+layout.Stream(o.t), verb)
	case layout.IsMap(o.t):
		return noBox("a "+layout.MapName, verb)
	case layout.IsCalls(o.t):
		return noBox("an "+layout.CallsName, verb)
	case layout.IsCache(o.t):
		return noBox("a "+layout.CacheName, verb)
	case layout.IsPool(o.t):
		return noBox("a "+layout.PoolName, verb)
	case o.t == nil:
		return fmt.Errorf("%w: the segment holds raw bytes, without a schema", shmem.ErrMismatch)
	}
	return nil
}

// assign changes the bytes of v.
func assign(v Value, all []Assignment) error {
	for _, a := range all {
		f, err := v.At(a.Path)
		if err != nil {
			return err
		}
		if err := f.parse(a.Value); err != nil {
			return fmt.Errorf("%s=%s: %w", a.Path, a.Value, err)
		}
	}
	return nil
}

// store writes the leaves of b that differ from old to the payload, and nothing else. So a
// sync/atomic field that another process changed meanwhile keeps its new value, unless it is itself
// set.
func store(m *mem.Mapping, old Value, b []byte) error {
	if bytes.Equal(old.b, b) {
		return nil
	}
	switch {
	case old.t.Kind == format.Struct:
		for _, f := range old.t.Fields {
			if err := store(m, old.sub(f.Type, f.Offset), b[f.Offset:][:f.Type.Size]); err != nil {
				return err
			}
		}
	case old.t.Kind == format.Array && !isBytes(old.t):
		for i, n := 0, old.t.Elem.Size; i < old.t.Len; i++ {
			if err := store(m, old.sub(old.t.Elem, i*n), b[i*n:][:n]); err != nil {
				return err
			}
		}
	case old.t.Kind == format.Sync:
	case old.t.Atomic:
		return storeAtomic(m, old.off, b)
	default:
		m.Store(old.off, b)
	}
	return nil
}

// storeAtomic stores a sync/atomic type of 4 or 8 bytes.
func storeAtomic(m *mem.Mapping, off int, b []byte) error {
	if len(b) == 4 {
		w, err := mem.At[atomic.Uint32](m, off)
		if err != nil {
			return err
		}
		w.Store(binary.NativeEndian.Uint32(b))
		return nil
	}
	w, err := mem.At[atomic.Uint64](m, off)
	if err != nil {
		return err
	}
	w.Store(binary.NativeEndian.Uint64(b))
	return nil
}
