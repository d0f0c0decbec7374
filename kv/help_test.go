package kv_test

import (
	"context"
	"sync/atomic"
	"unsafe"

	"github.com/shmembox/shmem/psync"
)

type (
	atomicInt = atomic.Int64
	mutex     = psync.Mutex
)

// bytesOf is the memory of a value.
func bytesOf[T any](p *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p)) }

func contextThatIsDone() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(background)
	cancel()
	return ctx, cancel
}
