package queue

import (
	"context"
	"sync/atomic"

	"github.com/shmembox/shmem"
)

// A lock is a mutex of this process whose Lock takes a context.
type lock struct {
	held    atomic.Uint32
	waiters atomic.Int32
	bell    chan struct{}
}

func (l *lock) init() { l.bell = make(chan struct{}, 1) }

// lock takes the lock. A nil context: ErrFull at once if it is not free. Close keeps the lock for good.
func (l *lock) lock(ctx context.Context, closing func() <-chan struct{}) error {
	if l.held.CompareAndSwap(0, 1) {
		return nil
	}
	if ctx == nil {
		select {
		case <-closing():
			return shmem.ErrClosed
		default:
			return ErrFull
		}
	}
	l.waiters.Add(1)
	defer l.waiters.Add(-1)
	for !l.held.CompareAndSwap(0, 1) {
		select {
		case <-l.bell:
		case <-ctx.Done():
			return ctx.Err()
		case <-closing():
			return shmem.ErrClosed
		}
	}
	return nil
}

func (l *lock) unlock() {
	l.held.Store(0)
	if l.waiters.Load() > 0 {
		select {
		case l.bell <- struct{}{}:
		default:
		}
	}
}
