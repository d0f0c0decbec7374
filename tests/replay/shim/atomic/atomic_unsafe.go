//go:build linux && (amd64 || arm64)

// Package atomic stands in for sync/atomic: each operation is a point, in shared memory always and
// in the memory of one process where the scenario says so.
package atomic

import (
	"unsafe"

	"github.com/shmembox/shmem/tests/replay/kernel"
	"github.com/shmembox/shmem/tests/replay/world"
)

type word interface {
	~int32 | ~int64 | ~uint32 | ~uint64 | ~uintptr
}

// point comes before an access to p.
func point[T any](p *T) {
	if kernel.Shared(unsafe.Pointer(p)) {
		world.Point()
	} else {
		world.Local()
	}
}

// did comes after an access: v is what p holds now.
func did[T word](what string, p *T, v T) {
	if kernel.Shared(unsafe.Pointer(p)) {
		world.Did(kernel.Off(unsafe.Pointer(p)), uint64(v))
		if world.Tracing() {
			name, off := kernel.Place(unsafe.Pointer(p))
			world.Note("%s %s+%d: %#x", what, name, off, v)
		}
	}
}

func load[T word](p *T) T {
	point(p)
	v := *p
	did("load", p, v)
	return v
}

func store[T word](p *T, v T) {
	point(p)
	*p = v
	did("store", p, v)
}

func swap[T word](p *T, v T) T {
	point(p)
	old := *p
	*p = v
	did("swap", p, v)
	return old
}

func cas[T word](p *T, old, v T) bool {
	point(p)
	if *p != old {
		did("cas fails", p, *p)
		return false
	}
	*p = v
	did("cas", p, v)
	return true
}

func add[T word](p *T, d T) T {
	point(p)
	*p += d
	did("add", p, *p)
	return *p
}

func and[T word](p *T, mask T) T {
	point(p)
	old := *p
	*p &= mask
	did("and", p, *p)
	return old
}

func or[T word](p *T, mask T) T {
	point(p)
	old := *p
	*p |= mask
	did("or", p, *p)
	return old
}

type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// LoadUintptr and StoreUintptr are those of sync/atomic.
func LoadUintptr(p *uintptr) uintptr     { return load(p) }
func StoreUintptr(p *uintptr, v uintptr) { store(p, v) }

// A Pointer is atomic.Pointer. It never lies in shared memory.
type Pointer[T any] struct {
	_ noCopy
	p *T
}

func (x *Pointer[T]) Load() *T   { world.Local(); return x.p }
func (x *Pointer[T]) Store(p *T) { world.Local(); x.p = p }
func (x *Pointer[T]) Swap(p *T) *T {
	world.Local()
	old := x.p
	x.p = p
	return old
}
func (x *Pointer[T]) CompareAndSwap(old, p *T) bool {
	world.Local()
	if x.p != old {
		return false
	}
	x.p = p
	return true
}

// A Bool is atomic.Bool.
type Bool struct {
	_ noCopy
	v uint32
}

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

func (x *Bool) Load() bool                      { return load(&x.v) != 0 }
func (x *Bool) Store(b bool)                    { store(&x.v, bit(b)) }
func (x *Bool) Swap(b bool) bool                { return swap(&x.v, bit(b)) != 0 }
func (x *Bool) CompareAndSwap(old, b bool) bool { return cas(&x.v, bit(old), bit(b)) }
