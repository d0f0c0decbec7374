package queue

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/stream"
)

// A lock is a mutex of this process whose lock method takes a context. Init makes it ready.
type lock struct {
	locked  atomic.Uint32
	waiters atomic.Int32
	bell    chan struct{} // holds one token: a waiter should try again
}

// errLocked is returned when a call that does not block finds the lock taken.
var errLocked = errors.New("another goroutine is in a call")

func (l *lock) init() { l.bell = make(chan struct{}, 1) }

// lock takes the lock. With a stream.Try it does not block, and returns errLocked if the lock is
// taken. Close takes the lock and never unlocks it; the waiters return ErrClosed.
func (l *lock) lock(ctx context.Context, closing func() <-chan struct{}) error {
	if l.tryLock() {
		return nil
	}
	if stream.Tries(ctx) {
		select {
		case <-closing():
			return shmem.ErrClosed
		default:
			return errLocked
		}
	}
	if ctx == nil {
		return stream.Context(nil)
	}
	l.waiters.Add(1)
	defer l.waiters.Add(-1)
	for !l.tryLock() {
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

func (l *lock) tryLock() bool { return l.locked.CompareAndSwap(0, 1) }

func (l *lock) unlock() {
	l.locked.Store(0)
	if l.waiters.Load() > 0 {
		l.ring()
	}
}

func (l *lock) ring() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
}
