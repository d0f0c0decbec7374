package shmem

import (
	"fmt"
	"sync"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
)

// A plan says what of a value is copied. Types of sync/atomic and psync are changed by others without
// the box's lock: the undo image leaves them out.
type plan struct {
	of      *format.Type
	size    int
	parts   []format.Span // what the lock protects; nil: all of it
	shared  []format.Span // what it does not
	private []format.Span // locks: left zero in copies
}

// plans holds the plan of every *format.Type that has a box.
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

// learn looks whether the segment's type is still the one whose plan is known. Another process may have
// appended fields since (Options.Append), and the image must always hold them as well: who reads them
// or undoes a change takes them from it, whoever wrote it. The box's lock is held.
func (s *Segment) learn() error {
	if s.m.Peers.Words.Fingerprint.Load() == s.learnt && s.extent != nil {
		return nil
	}
	var err error
	for range learnTries { // without the gate it may be seen half written
		var page []byte
		var rec format.Record
		var stored *format.Type
		if _, page, err = readHeader(s.file, s.stat); err != nil {
			continue
		}
		if rec, stored, err = s.readSchema(page); err != nil {
			continue
		}
		own := s.plan
		switch {
		case rec.Kind == format.NoSchema, stored == nil && rec.Fingerprint == own.of.Fingerprint():
			s.extent = own
		case stored == nil || uint64(stored.Size) > s.head.PayloadCap:
			return fmt.Errorf("%w: the segment has another type now, which is not stored", ErrMismatch)
		case format.Prefix(own.of, stored):
			s.extent = newPlan(stored)
		default:
			return fmt.Errorf("%w: the segment has another type now", ErrMismatch)
		}
		s.learnt = rec.Fingerprint
		return nil
	}
	return err
}

// learnTries is how often a schema record is read that another process is writing.
const learnTries = 100

// copyShared copies the protected parts between payload and image.
func (s *Segment) copyShared(dst, src int, each step.Point) {
	var reached func()
	if step.Hooked() && each != "" {
		reached = func() { step.Reach(each) }
	}
	if s.extent.shared == nil {
		s.m.Move(dst, src, s.extent.size, reached)
		return
	}
	for _, p := range s.extent.parts {
		s.m.Move(dst+p.Off, src+p.Off, p.Len, reached)
	}
}

// storeLocal copies the protected parts of a value of this process to the payload or the image.
func (s *Segment) storeLocal(dst int, src []byte) {
	if s.plan.shared == nil {
		s.m.Store(dst, src)
		return
	}
	for _, p := range s.plan.parts {
		s.m.Store(dst+p.Off, src[p.Off:][:p.Len])
	}
}

// loadLocal copies the whole value from the payload or the image. Atomics are those of the payload;
// locks are left zero.
func (s *Segment) loadLocal(dst []byte, src int) {
	s.m.Load(dst, src)
	if src != 0 {
		for _, p := range s.plan.shared {
			s.m.LoadPart(dst[p.Off:][:p.Len], p.Off)
		}
	}
	for _, p := range s.plan.private {
		clear(dst[p.Off:][:p.Len])
	}
}
