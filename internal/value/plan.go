package value

import (
	"fmt"
	"sync"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
)

// A plan says which parts of a value are copied. Fields of sync/atomic and psync types are changed
// without the box's lock: no copy to the payload or the image includes them, since undoing them
// would undo the work of other processes.
type plan struct {
	of      *format.Type
	size    int
	parts   []format.Span // protected by the lock; unused where shared is nil
	shared  []format.Span // not protected; nil: the whole value is
	private []format.Span // locks: zero in copies
}

// plans caches the plan of every type of a box: *format.Type → *plan.
var plans sync.Map

func planOf(t *format.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	q, _ := plans.LoadOrStore(t, newPlan(t))
	return q.(*plan)
}

func newPlan(t *format.Type) *plan {
	p := &plan{of: t, size: t.Size}
	at := 0
	for s := range t.Spans() {
		p.shared = append(p.shared, s)
		if s.Off > at {
			p.parts = append(p.parts, format.Span{Off: at, Len: s.Off - at})
		}
		at = s.Off + s.Len
	}
	if p.shared != nil && at < t.Size {
		p.parts = append(p.parts, format.Span{Off: at, Len: t.Size - at})
	}
	for s := range t.SyncSpans() {
		p.private = append(p.private, s)
	}
	return p
}

// refreshTries bounds how often a schema record is read while another process writes it.
const refreshTries = 100

// refreshSchema makes v.stored the plan of the segment's present type. Another process may have
// appended fields (Options.Append). The undo image must contain the appended fields too, because
// readers and recovery take them from the image whichever process wrote it. The lock is held.
func (v *Value) refreshSchema() error {
	if v.words.Fingerprint.Load() == v.fingerprint && v.stored != nil {
		return nil
	}
	var err error
	for range refreshTries { // without the gate the record may be half written
		rec, stored, e := v.a.Schema()
		if err = e; err != nil {
			continue
		}
		own := v.plan
		switch {
		case rec.Kind == format.NoSchema, stored == nil && rec.Fingerprint == own.of.Fingerprint():
			v.stored = own
		case stored == nil || uint64(stored.Size) > v.a.Header().PayloadCap:
			return fmt.Errorf("%w: the segment has another type now, which is not stored",
				errs.Mismatch)
		case format.Prefix(own.of, stored):
			v.stored = newPlan(stored)
		default:
			return fmt.Errorf("%w: the segment has another type now", errs.Mismatch)
		}
		v.fingerprint = rec.Fingerprint
		return nil
	}
	return err
}

// copyShared copies the protected parts between payload and image. A hook sees a step for each
// word.
func (v *Value) copyShared(dst, src int, each step.Point) {
	var reached func()
	if step.Hooked() && each != "" {
		reached = func() { step.Reach(each) }
	}
	if v.stored.shared == nil {
		v.m.Move(dst, src, v.stored.size, reached)
		return
	}
	for _, p := range v.stored.parts {
		v.m.Move(dst+p.Off, src+p.Off, p.Len, reached)
	}
}

// storeLocal copies the protected parts of a value in ordinary memory to the payload or the image.
func (v *Value) storeLocal(dst int, src []byte) {
	if v.plan.shared == nil {
		v.m.Store(dst, src)
		return
	}
	for _, p := range v.plan.parts {
		v.m.Store(dst+p.Off, src[p.Off:][:p.Len])
	}
}

// loadLocal copies the whole value from the payload or the image. Atomics are those of the payload;
// locks are zero.
func (v *Value) loadLocal(dst []byte, src int) {
	v.m.Load(dst, src)
	if src != 0 {
		for _, p := range v.plan.shared {
			v.m.LoadPart(dst[p.Off:][:p.Len], p.Off)
		}
	}
	for _, p := range v.plan.private {
		clear(dst[p.Off:][:p.Len])
	}
}
