//go:build linux && (amd64 || arm64)

package atomic

// An Int32 is atomic.Int32.
type Int32 struct {
	_ noCopy
	v int32
}

func (x *Int32) Load() int32                      { return load(&x.v) }
func (x *Int32) Store(v int32)                    { store(&x.v, v) }
func (x *Int32) Swap(v int32) int32               { return swap(&x.v, v) }
func (x *Int32) CompareAndSwap(old, v int32) bool { return cas(&x.v, old, v) }
func (x *Int32) Add(d int32) int32                { return add(&x.v, d) }
func (x *Int32) And(mask int32) int32             { return and(&x.v, mask) }
func (x *Int32) Or(mask int32) int32              { return or(&x.v, mask) }

// An Int64 is atomic.Int64.
type Int64 struct {
	_ noCopy
	v int64
}

func (x *Int64) Load() int64                      { return load(&x.v) }
func (x *Int64) Store(v int64)                    { store(&x.v, v) }
func (x *Int64) Swap(v int64) int64               { return swap(&x.v, v) }
func (x *Int64) CompareAndSwap(old, v int64) bool { return cas(&x.v, old, v) }
func (x *Int64) Add(d int64) int64                { return add(&x.v, d) }
func (x *Int64) And(mask int64) int64             { return and(&x.v, mask) }
func (x *Int64) Or(mask int64) int64              { return or(&x.v, mask) }

// A Uint32 is atomic.Uint32.
type Uint32 struct {
	_ noCopy
	v uint32
}

func (x *Uint32) Load() uint32                      { return load(&x.v) }
func (x *Uint32) Store(v uint32)                    { store(&x.v, v) }
func (x *Uint32) Swap(v uint32) uint32              { return swap(&x.v, v) }
func (x *Uint32) CompareAndSwap(old, v uint32) bool { return cas(&x.v, old, v) }
func (x *Uint32) Add(d uint32) uint32               { return add(&x.v, d) }
func (x *Uint32) And(mask uint32) uint32            { return and(&x.v, mask) }
func (x *Uint32) Or(mask uint32) uint32             { return or(&x.v, mask) }

// A Uint64 is atomic.Uint64.
type Uint64 struct {
	_ noCopy
	v uint64
}

func (x *Uint64) Load() uint64                      { return load(&x.v) }
func (x *Uint64) Store(v uint64)                    { store(&x.v, v) }
func (x *Uint64) Swap(v uint64) uint64              { return swap(&x.v, v) }
func (x *Uint64) CompareAndSwap(old, v uint64) bool { return cas(&x.v, old, v) }
func (x *Uint64) Add(d uint64) uint64               { return add(&x.v, d) }
func (x *Uint64) And(mask uint64) uint64            { return and(&x.v, mask) }
func (x *Uint64) Or(mask uint64) uint64             { return or(&x.v, mask) }

// A Uintptr is atomic.Uintptr.
type Uintptr struct {
	_ noCopy
	v uintptr
}

func (x *Uintptr) Load() uintptr                      { return load(&x.v) }
func (x *Uintptr) Store(v uintptr)                    { store(&x.v, v) }
func (x *Uintptr) Swap(v uintptr) uintptr             { return swap(&x.v, v) }
func (x *Uintptr) CompareAndSwap(old, v uintptr) bool { return cas(&x.v, old, v) }
func (x *Uintptr) Add(d uintptr) uintptr              { return add(&x.v, d) }
func (x *Uintptr) And(mask uintptr) uintptr           { return and(&x.v, mask) }
func (x *Uintptr) Or(mask uintptr) uintptr            { return or(&x.v, mask) }
