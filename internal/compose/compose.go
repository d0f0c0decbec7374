// Package compose is how the packages above shmem make segments whose type is composed at run time,
// such as a header and as many items as were asked for. Package shmem fills it in.
package compose

import (
	"context"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
)

// A Plan is a segment to be opened.
type Plan struct {
	Op, Name       string // of the errors
	Create, Attach bool
	Anonymous      bool
	Size           int // of the payload, if it is created
	// Type is the type of a payload of that many bytes. It is asked with Size, or with the size and
	// the type, nil if it is not known, of the segment that is there; what is stored there must be the
	// same. The error says why no such payload can be.
	Type func(payload int, stored *format.Type) (*format.Type, error)
	// Visitor attaches without the duty of the last one to leave: who knows nothing of the value's
	// Drop leaves a dead owner's segment to others.
	Visitor bool
	// Init prepares the zero payload of a new segment, before anyone else can see it.
	Init func(*mem.Mapping) error
}

// Open opens a segment, and tells what type it has. opts is a *shmem.Options, possibly nil, and the
// segment a *shmem.Segment. Package shmem sets it.
var Open func(p Plan, opts any) (segment any, m *mem.Mapping, t *format.Type, err error)

// Of is the mapping of a *shmem.Segment. Package shmem sets it.
var Of func(segment any) *mem.Mapping

// Update is Box.UpdateContext for a value whose type is known at run time only: f gets the
// mapping, in which the value is the payload. Package shmem sets it.
var Update func(ctx context.Context, segment any, t *format.Type, f func(*mem.Mapping) error) error

// Look describes an open file as shmem.Stat does: a shmem.Info, and the control block and schema
// where it has them. Package shmem sets it.
var Look func(fd int, path, name string) (info any, head *format.Header, schema *format.Type, err error)
