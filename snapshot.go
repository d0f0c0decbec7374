package shmem

import (
	"iter"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
)

// A plan says what of a value is copied. Types of sync/atomic and psync are changed by others without
// the box's lock: the undo image leaves them out.
type plan struct {
	size  int
	whole bool // there are none
	typ   *format.Type
}

func planOf(t *format.Type) plan {
	for range t.Spans() {
		return plan{t.Size, false, t}
	}
	return plan{t.Size, true, t}
}

// parts are the ranges that the lock protects.
func (p plan) parts() iter.Seq[format.Span] {
	return func(yield func(format.Span) bool) {
		at := 0
		for s := range p.typ.Spans() {
			if s.Off > at && !yield(format.Span{Off: at, Len: s.Off - at}) {
				return
			}
			at = s.Off + s.Len
		}
		if at < p.size {
			yield(format.Span{Off: at, Len: p.size - at})
		}
	}
}

// copyShared copies the protected parts between payload and image.
func (s *Segment) copyShared(dst, src int, each step.Point) {
	var reached func()
	if step.Hooked() && each != "" {
		reached = func() { step.Reach(each) }
	}
	if s.plan.whole {
		s.m.Move(dst, src, s.plan.size, reached)
		return
	}
	for p := range s.plan.parts() {
		s.m.Move(dst+p.Off, src+p.Off, p.Len, reached)
	}
}

// storeLocal copies the protected parts of a value of this process to the payload or the image.
func (s *Segment) storeLocal(dst int, src []byte) {
	if s.plan.whole {
		s.m.Store(dst, src)
		return
	}
	for p := range s.plan.parts() {
		s.m.Store(dst+p.Off, src[p.Off:][:p.Len])
	}
}

// loadLocal copies the whole value from the payload or the image. Atomics are those of the payload;
// locks are left zero.
func (s *Segment) loadLocal(dst []byte, src int) {
	s.m.Load(dst, src)
	if s.plan.whole {
		return
	}
	if src != 0 {
		for p := range s.plan.typ.Spans() {
			s.m.LoadPart(dst[p.Off:][:p.Len], p.Off)
		}
	}
	for p := range s.plan.typ.SyncSpans() {
		clear(dst[p.Off:][:p.Len])
	}
}
