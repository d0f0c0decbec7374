package shmem

import (
	"github.com/shmembox/shmem/internal/compose"
	"github.com/shmembox/shmem/internal/mem"
)

func init() {
	compose.Open = openComposed
	compose.Of = func(segment any) *mem.Mapping { return segment.(*Segment).m }
}

// openComposed opens a segment for the packages that build on this one.
func openComposed(p compose.Plan, opts any) (any, *mem.Mapping, error) {
	o, err := opts.(*Options).filled()
	if err != nil {
		return nil, nil, wrap(p.Op, p.Name, err)
	}
	r := &request{
		op: p.Op, name: p.Name, opts: o, create: p.Create, attach: p.Attach, anonymous: p.Anonymous,
		compose: p.Type, init: p.Init,
	}
	if p.Create {
		r.size = p.Size
		if r.schema, err = p.Type(p.Size); err != nil {
			return nil, nil, wrap(p.Op, p.Name, err)
		}
	}
	s, err := r.run()
	if err != nil {
		return nil, nil, wrap(p.Op, p.Name, err)
	}
	return s, s.m, nil
}
