package inspect

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

// A Snapshot is a copy of a segment's value as it was at one moment. It does not change, and stays
// valid after the Observer is closed.
type Snapshot struct {
	Name    string
	Time    time.Time
	Version uint64 // as Box.Version
	// Changing reports that a process was changing the value, or died while changing it. The copy
	// is a whole value all the same, from the undo image: the value before the change if that is an
	// Update, the value after it if it is a Store.
	Changing bool
	// Torn reports that the copy may mix two values. That is so for raw and foreign memory, in
	// which writers keep no order, and if the value was being changed and has no undo image.
	Torn bool

	t   *format.Type // nil if there is no schema
	b   []byte
	off int       // of b in the payload
	o   *Observer // for the names of lock holders
}

// Value returns the value: the whole one or, of SnapshotAt, the part at the path.
func (s *Snapshot) Value() Value { return Value{s.t, s.b, s.off, s} }

// MaxSnapshot is how many bytes one snapshot, one message, or what Messages returns has at most. A
// file may claim any size, so a look at it must not take memory of that size.
const MaxSnapshot = 256 << 20

// ErrTooLarge is returned for a value of more than MaxSnapshot bytes. SnapshotAt copies a part of
// it, and ReadAt reads its bytes.
var ErrTooLarge = errors.New("more than one look copies")

func tooLarge(size int64) error {
	return fmt.Errorf("%w: %d bytes, the limit is %d; name a part of it", ErrTooLarge, size,
		int64(MaxSnapshot))
}

// snapshotTime bounds how long Snapshot tries to meet a moment between two changes.
const snapshotTime = time.Second

// Snapshot copies the value, as Box.Load does. It takes no lock, and no writer waits for it.
//
// If the value changes so often that no copy can be completed within a second, Snapshot returns
// shmem.ErrContended. If a process is changing the value, or died while changing it, and there is
// no undo image, the copy is Torn. A file that another process truncated gives shmem.ErrFault, and
// a value of more than MaxSnapshot bytes ErrTooLarge.
func (o *Observer) Snapshot() (*Snapshot, error) { return o.SnapshotAt("") }

// SnapshotAt is Snapshot of the part of the value at a path; see Value.At. Only that part is
// copied, so it may be a part of a value that is too large for Snapshot. An error of the path is no
// *shmem.Error.
func (o *Observer) SnapshotAt(path string) (*Snapshot, error) {
	snap, err := o.snapshotAt(path)
	var wrong pathError
	switch {
	case err == nil:
		return snap, nil
	case errors.As(err, &wrong):
		return nil, wrong.error
	}
	return nil, o.error("inspect snapshot", err)
}

// A pathError is an error of a path, which knows no segment.
type pathError struct{ error }

func (o *Observer) snapshotAt(path string) (snap *Snapshot, err error) {
	if o.file == sys.NoFD {
		return nil, shmem.ErrClosed
	}
	if o.t == nil || path == "" || int64(o.t.Size) <= MaxSnapshot {
		if snap, err = o.snapshot(); err != nil || path == "" {
			return snap, err
		}
		v, err := snap.Value().At(path)
		if err != nil {
			return nil, pathError{err}
		}
		snap.t, snap.b, snap.off = v.t, v.b, v.off
		return snap, nil
	}
	t, off, err := typeAt(o.t, path)
	if err != nil {
		return nil, pathError{err}
	}
	snap = &Snapshot{Name: o.info.Name, Time: time.Now(), t: t, off: off, o: o}
	if err = o.fill(snap, int64(t.Size)); err != nil {
		return nil, err
	}
	return snap, nil
}

// typeAt returns the type and the offset of the part of a value of type t at a path. It sees no
// value: of a list it lets every element pass that there can be.
func typeAt(t *format.Type, path string) (*format.Type, int, error) {
	off := 0
	for rest := path; rest != ""; {
		if f, after, ok := fieldOf(t, rest); ok {
			t, off, rest = f.Type, off+f.Offset, after
			continue
		}
		items, at := t, 0
		if kindOf(t) == List {
			items, at = t.Fields[1].Type, t.Fields[1].Offset
		}
		var i int
		digits, after, ok := strings.Cut(strings.TrimPrefix(rest, "["), "]")
		if ok = ok && rest[0] == '[' && items.Kind == format.Array; ok {
			var err error
			i, err = strconv.Atoi(digits)
			ok = err == nil && i >= 0 && i < items.Len
		}
		if !ok {
			return nil, 0, fmt.Errorf("path %s: %s has no part %q", path, typeOf(t), rest)
		}
		t, off, rest = items.Elem, off+at+i*items.Elem.Size, after
	}
	return t, off, nil
}

// fieldOf returns the field of t that a path begins with, and the rest of the path.
func fieldOf(t *format.Type, path string) (f format.Field, rest string, ok bool) {
	if kindOf(t) != Struct {
		return f, "", false
	}
	path = strings.TrimPrefix(path, ".")
	name := path
	if i := strings.IndexAny(path, ".["); i >= 0 {
		name = path[:i]
	}
	for _, f := range t.Fields {
		if f.Name == name {
			return f, path[len(name):], true
		}
	}
	return f, "", false
}

// snapshot copies the whole value.
func (o *Observer) snapshot() (*Snapshot, error) {
	if o.file == sys.NoFD {
		return nil, shmem.ErrClosed
	}
	size := o.info.Size
	if o.t != nil {
		size = int64(o.t.Size)
	}
	snap := &Snapshot{Name: o.info.Name, Time: time.Now(), t: o.t, o: o}
	if o.m != nil && o.head != nil {
		// The size was read anew by Refresh; the mapping is still that of Open.
		size = min(size, int64(o.m.Size()))
		if o.t != nil && size < int64(o.t.Size) {
			return nil, fmt.Errorf("%w: the value is larger than the room for it", shmem.ErrCorrupt)
		}
	}
	if err := o.fill(snap, size); err != nil {
		return nil, err
	}
	return snap, nil
}

// fill copies size bytes of the value from snap.off into snap.
func (o *Observer) fill(snap *Snapshot, size int64) (err error) {
	if size > MaxSnapshot {
		return tooLarge(size)
	}
	snap.b = make([]byte, size)
	if o.m == nil || o.head == nil {
		snap.Torn = true
		n, err := o.file.ReadAt(snap.b, int64(snap.off))
		snap.b = snap.b[:n]
		return err
	}
	fault := o.m.Guard(func() { err = o.copyValue(snap) })
	if fault != nil {
		return &shmem.FaultError{Name: o.info.Path, Addr: fault.Addr, Err: fault.Err}
	}
	return err
}

// copyValue copies the value by the protocol of readers (docs/format.md, section 8): while seq is
// even the payload is the value, while it is odd the undo image is; a copy counts if seq is the
// same before and after.
func (o *Observer) copyValue(snap *Snapshot) error {
	seq, image := &o.m.Peers.Words.Seq, int(o.head.ImageOff)
	for try := 0; ; try++ {
		before := seq.Load()
		snap.Version, snap.Changing, snap.Torn = before/2, before&1 != 0, o.t == nil
		switch {
		case !snap.Changing:
			o.load(snap.b, snap.off)
		case image == 0:
			o.load(snap.b, snap.off)
			snap.Torn = true
		default:
			o.copyImage(snap, image)
		}
		if seq.Load() == before {
			return nil
		}
		if time.Since(snap.Time) > snapshotTime {
			if image == 0 {
				snap.Torn = true
				return nil
			}
			return fmt.Errorf("%w: the value changes faster than it can be copied; try again, or "+
				"hold the lock with View", shmem.ErrContended)
		}
		if try > 32 { // back off, up to 0.5 ms
			time.Sleep(time.Duration(min(try, 500)) * time.Microsecond)
		}
	}
}

// copyImage copies the undo image. It lacks the sync/atomic and psync fields, which change without
// the lock: those are copied from the payload.
func (o *Observer) copyImage(snap *Snapshot, image int) {
	o.load(snap.b, image+snap.off)
	if snap.t == nil {
		return
	}
	for p := range snap.t.Spans() {
		o.m.LoadPart(snap.b[p.Off:][:p.Len], snap.off+p.Off)
	}
}

// load copies from an offset in the mapping, the fast way where that can be.
func (o *Observer) load(b []byte, off int) {
	if off%8 == 0 {
		o.m.Load(b, off)
	} else {
		o.m.LoadPart(b, off)
	}
}
