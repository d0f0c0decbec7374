// Package psync has locks that live in shared memory, inside the value of a box, and work between
// processes and between goroutines of one, in any mix. All are ready to use when they are all zero.
//
// # Who holds a lock
//
// A lock is held by an attachment: a process's box or segment. Its goroutines share it, as they share a
// sync.Mutex: any of them may unlock what another locked. A box that is opened twice in one
// process is two attachments. Closing a box that holds a lock, or the death of its process, is the
// death of the holder; a stopped process is alive, and nothing is ever taken from it.
//
// # What errors mean
//
// An error of a call that locks means that the lock is not held. Every method answers:
//
//   - [ErrClosed]: the box was closed, maybe while the call was waiting. (A call that begins in the
//     very moment in which the memory is taken away may fault, as any use of a value after Close.
//     Inside the box's Do, View and Update there is no such moment.);
//   - [ErrReadOnly]: the box is attached read-only;
//   - [ErrNotShared]: the lock was copied out of a segment while it was in use;
//   - [errors.ErrUnsupported]: the segment is a foreign one, without control block.
//
// Calls that lock or wait answer [ErrOwnerDied] where a dead process left the lock, see
// [Mutex.Recover], and the context's error if they are given one.
//
// How soon a death is seen by those who wait: at once where both processes are in the same PID
// namespace and the system has process descriptors (Linux 5.3), else when they look: after 10 ms,
// 20 ms and so on up to 100 ms. The end of an attachment whose process lives on is seen when they look.
//
// # Ordinary memory
//
// In memory that belongs to no segment the types work too, between the goroutines of the process,
// also on systems that have no shared memory.
//
// # Where this comes from
//
// The lock word with owner and the list of what to do when that dies are those of Linux's robust
// futexes (Documentation/locking/robust-futexes.rst) and of POSIX robust mutexes, except that liveness
// is told by file locks instead of thread ids, which lie across PID namespaces. Waiting is that of
// package internal/wait.
package psync

import (
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/wait"
)

// Errors of this package.
var (
	// ErrOwnerDied: the process that held the lock died and may have left the value half changed.
	// The lock is not held. Recover repairs and reopens it.
	ErrOwnerDied = mem.ErrOwnerDied
	// ErrReadOnly: the lock is in memory that this process cannot write.
	ErrReadOnly = mem.ErrReadOnly
	// ErrCorrupt: the memory holds what no process of ours writes.
	ErrCorrupt = mem.ErrCorrupt
	// ErrClosed is fs.ErrClosed: the box that the lock lives in is closed.
	ErrClosed = wait.ErrClosed
	// ErrNotHeld: Unlock of a lock that this attachment does not hold.
	ErrNotHeld = robust.ErrNotHeld
	// ErrNotShared: the lock was copied out of a segment.
	ErrNotShared = robust.ErrNotShared
)

// noCopy lets go vet find copies.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
