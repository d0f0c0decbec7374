package rpc

import (
	"context"
	"encoding/binary"

	"github.com/shmembox/shmem/internal/calls"
)

// Metadata travels with a call, beside the request: the id of a trace and of a span, say.
type Metadata [32]byte

type metadataKey struct{}

// WithMetadata returns a context whose calls carry the metadata.
func WithMetadata(ctx context.Context, m Metadata) context.Context {
	return context.WithValue(ctx, metadataKey{}, m)
}

// MetadataOf returns the metadata of a context: in a handler that of the call, which calls that the
// handler makes with its context carry too. It is zero if there is none.
func MetadataOf(ctx context.Context) Metadata {
	switch m := ctx.Value(metadataKey{}).(type) {
	case Metadata:
		return m
	case *callContext:
		return m.meta
	}
	return Metadata{}
}

// store writes the metadata into the slot of a call.
func (m Metadata) store(s *calls.Slot) {
	for i := range s.Meta {
		s.Meta[i].Store(binary.NativeEndian.Uint64(m[8*i:]))
	}
}

// loadMetadata returns the metadata of a call.
func loadMetadata(s *calls.Slot) (m Metadata) {
	for i := range s.Meta {
		binary.NativeEndian.PutUint64(m[8*i:], s.Meta[i].Load())
	}
	return m
}
