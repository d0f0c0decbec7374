package robust

import (
	"errors"
	"fmt"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
)

var errForeign = fmt.Errorf("%w: without a control block it has no locks (%w)",
	errs.Foreign, errors.ErrUnsupported)

// An Object says where a lock lives, and which attachment uses it.
type Object struct {
	M  *mem.Mapping // nil: ordinary memory
	Me format.ID    // this attachment; format.Local in ordinary memory
}

// Of finds the segment that p points into, by its address. It returns errs.ReadOnly if this
// attachment cannot write p, and errs.Closed if the mapping was retired. While the mapping drains
// Of finds the object: locks can be freed.
func Of[T any](p *T) (Object, error) {
	m := mem.Of(p)
	if m == nil {
		return Object{nil, format.Local}, nil
	}
	if id := m.LockID(); id != format.NoID {
		return Object{m, id}, nil
	}
	return without(m)
}

// ToLock is Of for calls that take a lock. It returns errs.Closed also while the mapping drains.
func ToLock[T any](p *T) (Object, error) {
	m := mem.Of(p)
	if m == nil {
		return Object{nil, format.Local}, nil
	}
	if id := m.LockID(); id != format.NoID {
		return Object{m, id}, nil
	}
	if _, err := without(m); err != nil {
		return Object{}, err
	}
	return Object{}, errs.Closed
}

// without is Of where the mapping has no id to take locks by.
func without(m *mem.Mapping) (Object, error) {
	switch {
	case m.Retired():
		return Object{}, errs.Closed
	case !m.Writable():
		return Object{}, errs.ReadOnly
	case m.Peers == nil:
		return Object{}, errForeign
	case m.Peers.Self == format.NoID:
		return Object{}, errs.ReadOnly
	}
	return Object{m, m.Peers.Self}, nil // it drains
}

// FastID returns the id by which the attachment that p points into takes locks. It returns 0 if Of
// must be asked: it fails, or this is a race build. It does not touch the memory at p.
func FastID[T any](p *T) uint32 {
	if RaceEnabled {
		return free
	}
	return mem.LockID(p)
}

// KnownID is FastID, inlined, that returns 0 also in ordinary memory, and in parts of the address
// space that it does not know.
func KnownID[T any](p *T) uint32 {
	if RaceEnabled {
		return free
	}
	return mem.KnownLockID(p)
}

// Pin keeps the memory in place until Unpin, for a call that may block.
func (o Object) Pin() error {
	if o.M != nil && !o.M.Pin() {
		return errs.Closed
	}
	return nil
}

// PinNested is Pin for a call that never blocks, see [mem.Mapping.PinNested].
func (o Object) PinNested() error {
	if o.M != nil && !o.M.PinNested() {
		return errs.Closed
	}
	return nil
}

// Unpin ends Pin or PinNested.
func (o Object) Unpin() {
	if o.M != nil {
		o.M.Unpin()
	}
}

// Take pins the memory, calls take, which may wait, and unpins. If Close has begun before Take
// unpins, it calls giveBack, which undoes take, and returns errs.Closed: Close would leave what the
// call holds to a dead holder, and the caller was not told yet that it holds anything. With an
// error nothing is held.
func (o Object) Take(take func() error, giveBack func()) error {
	if err := o.Pin(); err != nil {
		return err
	}
	pinned := true
	defer func() {
		if pinned { // also after a fault
			o.Unpin()
		}
	}()
	if err := take(); err != nil {
		return err
	}
	if o.M == nil || o.M.UnpinOpen() {
		pinned = false
		return nil
	}
	giveBack()
	return errs.Closed
}

// Alive reports whether the attachment id is alive. The object is pinned.
func (o Object) Alive(id format.ID) bool {
	if alive, known := o.known(id); known {
		return alive
	}
	return o.M.Peers.Alive(id)
}

// AliveLately is Alive for calls that do not wait: the result may be 1 ms old, and then costs no
// system call.
func (o Object) AliveLately(id format.ID) bool {
	if alive, known := o.known(id); known {
		return alive
	}
	return o.M.Peers.AliveLately(id)
}

// known is Alive where the kernel need not be asked.
func (o Object) known(id format.ID) (alive, known bool) {
	switch {
	case o.M == nil || id == o.Me:
		return id == o.Me, true
	case o.M.Peers == nil:
		return true, true // unknown
	}
	return false, false
}
