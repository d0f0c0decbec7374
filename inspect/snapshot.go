package inspect

import (
	"fmt"
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

	t *format.Type // nil if there is no schema
	b []byte
	o *Observer // for the names of lock holders
}

// Value returns the whole value.
func (s *Snapshot) Value() Value { return Value{s.t, s.b, 0, s} }

// snapshotTime bounds how long Snapshot tries to meet a moment between two changes.
const snapshotTime = time.Second

// Snapshot copies the value, as Box.Load does. It takes no lock, and no writer waits for it.
//
// If the value changes so often that no copy can be completed within a second, Snapshot returns
// shmem.ErrContended. If a process is changing the value, or died while changing it, and there is
// no undo image, the copy is Torn. A file that another process truncated gives shmem.ErrFault.
func (o *Observer) Snapshot() (*Snapshot, error) {
	snap, err := o.snapshot()
	if err != nil {
		return nil, o.error("inspect snapshot", err)
	}
	return snap, nil
}

func (o *Observer) snapshot() (snap *Snapshot, err error) {
	if o.file == sys.NoFD {
		return nil, shmem.ErrClosed
	}
	size := o.info.Size
	if o.t != nil {
		size = int64(o.t.Size)
	}
	snap = &Snapshot{Name: o.info.Name, Time: time.Now(), t: o.t, o: o}
	if o.m == nil {
		return snap, nil
	}
	// The size was read anew by Refresh; the mapping is still that of Open.
	size = min(size, int64(len(o.m.Payload())))
	if o.t != nil && size < int64(o.t.Size) {
		return nil, fmt.Errorf("%w: the value is larger than the room for it", shmem.ErrCorrupt)
	}
	snap.b = make([]byte, size)
	fault := o.m.Guard(func() { err = o.copyValue(snap) })
	if fault != nil {
		return nil, &shmem.FaultError{Name: o.info.Path, Addr: fault.Addr, Err: fault.Err}
	}
	return snap, err
}

// copyValue copies the value by the protocol of readers (docs/format.md, section 8): while seq is
// even the payload is the value, while it is odd the undo image is; a copy counts if seq is the
// same before and after.
func (o *Observer) copyValue(snap *Snapshot) error {
	if o.head == nil || o.m.Peers == nil {
		o.m.Load(snap.b, 0)
		snap.Torn = true
		return nil
	}
	seq, image := &o.m.Peers.Words.Seq, int(o.head.ImageOff)
	for try := 0; ; try++ {
		before := seq.Load()
		snap.Version, snap.Changing, snap.Torn = before/2, before&1 != 0, o.t == nil
		switch {
		case !snap.Changing:
			o.m.Load(snap.b, 0)
		case image == 0:
			o.m.Load(snap.b, 0)
			snap.Torn = true
		default:
			o.copyImage(snap.b, image)
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
func (o *Observer) copyImage(b []byte, image int) {
	o.m.Load(b, image)
	if o.t == nil {
		return
	}
	for p := range o.t.Spans() {
		o.m.LoadPart(b[p.Off:][:p.Len], p.Off)
	}
}
