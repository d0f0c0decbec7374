package queue

import (
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/compose"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
)

// The payload of a queue is one of these structs; the name of the first field tells which.
//
//	struct { Many   ring.MPMCHeader;            Slots [N]atomic.Uint64; Items [N]T }
//	struct { Single ring.SPSCHeader; Ends ends;                         Items [N]T }
//	struct { Many   ring.MPMCBytesHeader;       Slots [N]atomic.Uint64; Extents [N]ring.Extent; Data [M]byte }
//	struct { Single ring.SPSCHeader; Ends ends;                                                 Data [M]byte }
//
// Items and Data begin at a multiple of 128.
const (
	formMany   = "Many"
	formSingle = "Single"
)

// ends counts what happened to the ends of a Single queue.
type ends struct {
	SenderDied   atomic.Uint64 // the end was taken from a dead sender
	ReceiverDied atomic.Uint64
	_            [112]byte
}

func typeOf[T any]() *format.Type {
	t, err := format.Of(reflect.TypeFor[T]())
	if err != nil {
		panic(err) // only for types of this module
	}
	return t
}

const lines = 128 // two cache lines: CPUs fetch them in pairs

// typedLayout is the type of a queue of n items.
func typedLayout(form string, item *format.Type, n int) (*format.Type, error) {
	items := layout.Part{Name: "Items", Type: item, Len: n, Align: lines}
	switch form {
	case formMany:
		return layout.Struct("queue.Queue",
			layout.Part{Name: formMany, Type: typeOf[ring.MPMCHeader]()},
			layout.Part{Name: "Slots", Type: typeOf[atomic.Uint64](), Len: n}, items)
	case formSingle:
		return layout.Struct("queue.Queue",
			layout.Part{Name: formSingle, Type: typeOf[ring.SPSCHeader]()},
			layout.Part{Name: "Ends", Type: typeOf[ends]()}, items)
	}
	return nil, errLayout
}

// bytesLayout is the type of a queue of n messages of m bytes in all.
func bytesLayout(form string, n, m int) (*format.Type, error) {
	data := layout.Part{Name: "Data", Type: typeOf[byte](), Len: m, Align: lines}
	switch form {
	case formMany:
		return layout.Struct("queue.Bytes",
			layout.Part{Name: formMany, Type: typeOf[ring.MPMCBytesHeader]()},
			layout.Part{Name: "Slots", Type: typeOf[atomic.Uint64](), Len: n},
			layout.Part{Name: "Extents", Type: typeOf[ring.Extent](), Len: n}, data)
	case formSingle:
		return layout.Struct("queue.Bytes",
			layout.Part{Name: formSingle, Type: typeOf[ring.SPSCHeader]()},
			layout.Part{Name: "Ends", Type: typeOf[ends]()}, data)
	}
	return nil, errLayout
}

var errLayout = errors.New("neither a queue for many nor a Single one")

// notA is the error of a segment that is something else.
func notA(want string, stored *format.Type) error {
	const types = "; Queue[T] is for queue.Open, Bytes for queue.OpenBytes, Topic for topic.Open"
	if stored == nil {
		return fmt.Errorf("the segment is raw bytes, not a %s", want)
	}
	return fmt.Errorf("the segment is a %s, not a %s%s", stored.Name, want, types)
}

// open opens the segment. create is its type if it is new, attach the one it must have, given the one it
// has.
func (b *base) open(op, name string, o *Options, create func() (*format.Type, error), attach func(stored *format.Type) (*format.Type, error)) (*format.Type, error) {
	plan := compose.Plan{Op: op, Name: name, Create: op != "attach", Attach: op != "create"}
	if plan.Create {
		t, err := create()
		if err != nil {
			return nil, &shmem.Error{Op: op, Name: name, Err: err}
		}
		plan.Size = t.Size
	}
	plan.Type = func(payload int, stored *format.Type) (*format.Type, error) {
		if stored == nil {
			if plan.Create && payload == plan.Size {
				return create()
			}
			return nil, notA("queue", nil)
		}
		t, err := attach(stored)
		if err == nil && t.Size != payload {
			err = fmt.Errorf("%d bytes, its type has %d", payload, t.Size)
		}
		return t, err
	}
	seg, m, t, err := compose.Open(plan, o.segment())
	if err != nil {
		return nil, err
	}
	b.seg, b.m, b.name = seg.(*shmem.Segment), m, name
	return t, nil
}

// part is the array of that name.
func part[E any](m *mem.Mapping, t *format.Type, name string) ([]E, error) {
	return mem.SliceAt[E](m, layout.Offset(t, name), layout.Len(t, name))
}
