//go:build linux

package main

import (
	"errors"
	"fmt"
	"sync/atomic"
)

const filler = 0x9e3779b97f4a7c15

// value is what a typed box holds. Only Init writes it.
type value struct {
	ID    atomic.Uint64
	Token uint64
	Inits atomic.Uint64
	Fill  [256]uint64
	Sum   uint64
}

// rawValue is what an untyped segment holds. The first worker that turns it into a box gives it its
// id.
type rawValue struct {
	ID   atomic.Uint64
	Fill [63]uint64
}

// self is the worker of this process, for Init and Drop.
var self *worker

var errInit = errors.New("init fails")

func (v *value) Init() error { return self.initialise(v) }
func (v *value) Drop()       { self.drop(v.ID.Load()) }
func (v *rawValue) Drop()    { self.drop(v.ID.Load()) }

// wrong returns what is wrong with a value; "" if it is whole.
func (v *value) wrong() string {
	id := v.ID.Load()
	if id == 0 || v.Inits.Load() != 1 || v.Sum != ^id {
		return fmt.Sprintf("id %d, inits %d, sum %#x", id, v.Inits.Load(), v.Sum)
	}
	for i, x := range v.Fill {
		if x != id*filler+uint64(i) {
			return fmt.Sprintf("id %d: word %d is %#x", id, i, x)
		}
	}
	return ""
}

// unchecked is for values of which nothing is known.
func unchecked() string { return "" }

// initialise is Init of a new value. The worker may die in it, or let it fail.
func (w *worker) initialise(v *value) error {
	id := w.a.ids.Add(1)
	if id >= maxSegments {
		return errInit
	}
	if v.ID.Load() != 0 || v.Token != 0 || v.Inits.Load() != 0 || v.Sum != 0 ||
		v.Fill[len(v.Fill)-1] != 0 {
		w.violate(uninitialised, "new memory is not zero")
	}
	v.Token = w.token
	w.point()
	for i := range v.Fill {
		v.Fill[i] = id*filler + uint64(i)
		if i%100 == 0 {
			w.point()
		}
	}
	if w.mortal && w.oneIn(60) {
		w.a.count(initFails)
		return errInit
	}
	v.Inits.Add(1)
	v.Sum = ^id
	v.ID.Store(id)
	w.made = id
	return nil
}

// drop is Drop of a value. It checks that no other attachment owns the segment and that it is not
// kept. Sometimes it opens a new segment of the same name.
func (w *worker) drop(id uint64) {
	w.a.count(drops)
	if id == 0 || id >= maxSegments {
		return // an untyped segment that no worker has given an id
	}
	s := &w.a.segments[id]
	if n := s.drops.Add(1); n != 1 {
		w.violate(doubleDrop, "segment %d: %d times", id, n)
	}
	if owns, quiet := w.a.owning(id); quiet {
		w.others(func(r *record, h *holding) {
			if h.ownsNow(s, id, owns) && r.doomed.Load() == 0 {
				w.violate(strangeDrop, "segment %d is owned by another", id)
			}
		})
		if k := uint64(s.kept.Load()); k != 0 && k-1 == owns {
			w.violate(strangeDrop, "segment %d is kept", id)
		}
	}
	w.point()
	if w.depth < depths && w.oneIn(4) {
		w.a.count(nestedOpens)
		w.visit(int(s.name.Load()))
	}
	w.point()
}
