// Package psync provides locks that live in shared memory, inside the value of a box. They work
// between processes, between goroutines, and in any mix of both. Every type is ready to use when
// all its bytes are zero, and none may be copied.
//
//	type Account struct {
//		Mu      psync.Mutex
//		Balance int64
//	}
//
//	v := box.Value()
//	if err := v.Mu.Lock(ctx); err != nil {
//		return err // not locked
//	}
//	v.Balance += 100
//	return v.Mu.Unlock()
//
// # Holders
//
// An attachment holds a lock: one open box or segment of one process. The goroutines of the
// process share the attachment, as they share a [sync.Mutex]: any goroutine may unlock what
// another one locked. A box that is opened twice in one process is two attachments.
//
// When the holder's process dies, the holder is dead. A stopped process is alive, and keeps its
// locks.
//
// A call that has not returned when Close of its box begins holds nothing, and returns
// [shmem.ErrClosed]. Close gives goroutines that hold a lock up to 100 ms to unlock: Unlock and
// RUnlock succeed meanwhile, calls that lock fail. Closing a box that holds a lock longer, as when
// the goroutine that holds the lock closes the box itself, is the death of the holder. Where a
// segment is used without a box, Close does not know its locks, and waits for none. It waits for no
// permit of a Semaphore: permits are free when the attachment is gone.
//
// # Deaths
//
// What a death leaves depends on the type:
//
//   - [Mutex], and [RWMutex] locked for writing: the value may be half changed, so calls that lock
//     return [ErrOwnerDied] until Recover has repaired the value;
//   - [RWMutex] locked for reading, permits of a [Semaphore]: they are free again;
//   - [Once]: the function that was cut short does not count, and the next call runs it;
//   - [Event]: nothing changes, unless the dead attachment had called [Event.Promise].
//
// A waiter sees the death of a holder at once where both processes are in the same PID namespace
// and the system has process descriptors (Linux 5.3). Elsewhere the waiter checks after 10 ms, then
// after 20 ms, and so on up to every 100 ms. It checks every 100 ms for an attachment whose process
// lives on, and where the process that unlocked last is stopped, or dies at the same time as the
// holder that it woke: only that process watches the holder for those that sleep.
//
// # Errors
//
// Methods return their errors as a [*shmem.Error] with the operation ("mutex lock") and the
// segment's name, also after Close. An error of a function that the caller passed is returned as it
// is. A call that returns an error has not locked. [errors.Is] finds in it:
//
//   - [ErrOwnerDied], [ErrNotHeld], [ErrNotShared] and [ErrNoRoom], see there;
//   - [shmem.ErrClosed] when the box was closed, also while the call waited;
//   - [shmem.ErrReadOnly] when the box is attached read-only;
//   - [shmem.ErrForeign] and [errors.ErrUnsupported] in a foreign segment: it has no control block;
//   - the context's error, when a call that waits was given up.
//
// After Close a pointer to a lock still leads to that error, but a pointer to the value is not
// valid: Go may read through v when it evaluates v.Mu, and that read faults. So do [Event.IsSet]
// and [Semaphore.Limit], which return no error, and a call that begins while Close removes the
// memory. Inside Do, View and Update of a box the memory stays.
//
// # Ordinary memory
//
// In memory that is part of no segment the types work between the goroutines of the process, also
// on systems without shared memory. Errors then name no segment.
//
// # Source
//
// The lock word with its owner, and the list of what to do when the owner dies, follow the robust
// futexes of Linux (Documentation/locking/robust-futexes.rst) and the robust mutexes of POSIX.
// Unlike there, file locks show which holders are alive, not thread ids, which differ between PID
// namespaces.
package psync

import (
	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/mem"
)

// Errors of this package. The others that its methods return are those of package shmem.
var (
	// ErrOwnerDied is returned when the process that held the lock died, or closed the box and
	// still held the lock 100 ms later. The value may be half changed. Recover repairs it.
	ErrOwnerDied = errs.OwnerDied
	// ErrNotHeld is returned when an attachment frees what it does not hold.
	ErrNotHeld = errs.NotHeld
	// ErrNotShared is returned when the lock was copied out of a segment while it was in use.
	ErrNotShared = errs.NotShared
	// ErrNoRoom is returned when [MaxReaders] other attachments hold an RWMutex for reading, or
	// [MaxHolders] hold permits of a Semaphore, so that the lock has no room for one more.
	ErrNoRoom = errs.NoRoom
)

var errClosed = errs.NamedClosed("segment of the lock")

// fail returns err as the error of the operation op on p, nil if err is nil.
func fail[T any](op string, p *T, err error) error {
	if err == nil {
		return nil
	}
	return failed(op, p, err)
}

func failed[T any](op string, p *T, err error) error {
	if err == errs.Closed {
		err = errClosed
	}
	e := &shmem.Error{Op: op, Err: err}
	if m := mem.Of(p); m != nil {
		e.Name = m.Name()
	}
	return e
}

// A callback is a function of the caller, whose error is returned as it is.
type callback struct {
	f   func() error
	err error
}

func (c *callback) call() error {
	c.err = c.f()
	return c.err
}

// noCopy makes go vet report copies.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
