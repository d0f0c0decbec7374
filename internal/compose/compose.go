// Package compose is how the packages above shmem make segments whose type is composed at run time,
// such as a header and as many items as were asked for. Package shmem fills it in.
package compose

import (
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
)

// A Plan is a segment to be opened.
type Plan struct {
	Op, Name       string // of the errors
	Create, Attach bool
	Anonymous      bool
	Size           int // of the payload, if it is created
	// Type is the type of a payload of that many bytes. It is asked with Size, or with the size of
	// the segment that is there; what is stored there must be the same. The error says why no such
	// payload can be.
	Type func(payload int) (*format.Type, error)
	// Init prepares the zero payload of a new segment, before anyone else can see it.
	Init func(*mem.Mapping) error
}

// Open opens a segment. opts is a *shmem.Options, possibly nil, and the segment a *shmem.Segment.
// Package shmem sets it.
var Open func(p Plan, opts any) (segment any, m *mem.Mapping, err error)

// Of is the mapping of a *shmem.Segment. Package shmem sets it.
var Of func(segment any) *mem.Mapping
