package shmem

import (
	"context"

	"github.com/shmembox/shmem/internal/compose"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

func init() {
	compose.Open = openComposed
	compose.Update = updateComposed
	compose.Look = func(fd int, path, name string) (any, *format.Header, *format.Type, error) {
		return lookAt(sys.FD(fd), path, name)
	}
	compose.Of = func(segment any) *mem.Mapping { return segment.(*Segment).m }
}

// openComposed opens a segment for the packages that build on this one.
func openComposed(p compose.Plan, opts any) (any, *mem.Mapping, *format.Type, error) {
	o, err := opts.(*Options).filled()
	if err != nil {
		return nil, nil, nil, wrap(p.Op, p.Name, err)
	}
	r := &request{
		op: p.Op, name: p.Name, opts: o, create: p.Create, attach: p.Attach, anonymous: p.Anonymous,
		compose: p.Type, init: p.Init, visitor: p.Visitor,
	}
	if p.Create {
		r.size = p.Size
		if r.schema, err = p.Type(p.Size, nil); err != nil {
			return nil, nil, nil, wrap(p.Op, p.Name, err)
		}
	}
	s, err := r.run()
	if err != nil {
		return nil, nil, nil, wrap(p.Op, p.Name, err)
	}
	return s, s.m, r.composed, nil
}

// updateComposed changes a value of the type t, which is the stored one. The first byte stands for it.
func updateComposed(ctx context.Context, segment any, t *format.Type, f func(*mem.Mapping) error) error {
	s := segment.(*Segment)
	if t.Size > s.Size() {
		return wrap("update", s.name, ErrCorrupt)
	}
	s.mu.Lock()
	s.plan, s.extent = newPlan(t), nil
	s.mu.Unlock()
	b := &Box[byte]{seg: s}
	return b.Update(ctx, func(*byte) error { return f(s.m) })
}
