// Package shmem shares Go values between processes, in named pieces of shared memory that survive the
// death of any of these processes at any moment.
//
//	type Settings struct{ Limit atomic.Int64 }
//
//	box, err := shmem.Open[Settings]("settings", nil) // attach, or create if there is none
//	if err != nil {
//		return err
//	}
//	defer box.Close()
//	box.Value().Limit.Store(42) // seen by every process that has it open
//
// # Names
//
// A segment is a file in a tmpfs directory, by default /dev/shm: that of name x is what shm_open("/x")
// opens in C. A name has 1 to [MaxName] letters, digits, dots, underscores and hyphens, and does not
// begin with a dot. The value is at the file's beginning, as a C struct of the same fields would be; what
// this package needs besides is behind it. Whoever is given the directory and the name gets the same
// memory, across containers too where they share the directory.
//
// [CreateAnonymous] makes a segment that has no name, and is handed on as a file descriptor.
//
// # Ownership
//
// Who creates a segment owns it. The owner's Close unlinks the name and drops the value (see
// [Dropper]), once. Everybody else's Close only detaches. A segment has one owner or none:
//
//   - [Box.Own] makes the caller the owner, and the former one stops being it;
//   - [Box.Leak] closes and leaves the segment kept: without owner, until it is owned or removed;
//   - [Options].Kept creates it so;
//   - the owner's death leaves it orphaned, see below.
//
// Two boxes of one name in one process are two attachments, like those of two processes.
//
// A new segment gets its name when it is complete: sized, backed by memory, and its value initialised
// (see [Initializer]). No process ever sees less.
//
// # What T may be
//
// Any type of fixed size without Go pointers: booleans, numbers, arrays and structs of them, the
// types of sync/atomic except Value and Pointer, those of package psync, [Text] for a string and [Vec]
// for a slice. Anything else is refused with a [TypeError], which names the field and says what to use
// instead.
//
// The layout of T is stored in the segment, and whoever attaches with another one is refused with a
// [MismatchError], which names the fields. [Options].Append lets a type grow at its end. A segment
// does not grow: [Options].Reserve is room for later.
//
// # Crashes
//
// A process that dies, however it dies, is detached by the kernel: liveness is told by locks on the
// segment's file (open file description locks), never by process ids, heartbeats or timeouts.
//
// If it owned the segment, the segment is orphaned. Others that are attached go on undisturbed, and
// the last one to leave does the owner's duty. If nobody is attached the segment is garbage: the next
// [Open] or [Create] of the name starts afresh, [Attach] finds nothing, and [Reclaim] removes it, without
// Drop, since the value may be half changed. A segment that a living process is attached to loses its
// name by its owner's Close or by [Remove], or by somebody who deletes the file; [Segment.Linked] tells.
//
// [os.Exit], log.Fatal, a panic that nobody recovers, and a signal that is not caught end a process
// without its deferred calls: for the segment that is a death. Catch SIGTERM with [os/signal.NotifyContext].
// A process that is stopped is alive; those who need it answer [ErrBusy] after [Options].Timeout.
//
// # Memory model and concurrency
//
// The methods of [Box] and [Segment] are safe for concurrent use. The value that [Box.Value] points to is
// memory like any other, and shared with more: access to it must be synchronised, between processes as
// between goroutines. Atomics in T work as they do in one process, and package psync has locks that live
// in T and report the death of their holder. The race detector sees only the goroutines of its own process.
//
// [Box.View] and [Box.Update] bracket access by a lock of the box's own, which undoes what a failing
// or dying Update did; [Box.Load] and [Box.Store] copy the value as a whole, Load without a lock;
// [Box.Wait] and [Box.Watch] tell of changes.
//
// A pointer to the value is valid until Close. Later it faults, which [Box.Do] turns into an error;
// it never leads to other memory.
//
// # Untrusted peers
//
// Who may open the file may change every byte of it, at any time. What this package keeps there is
// checked whenever it is used: damage is [ErrCorrupt]. The value is yours to check; copy it first. A peer
// with write access can also truncate a named file, and then access to the value is a fault, which ends the
// process outside of [Box.Do]. Among peers that do not trust each other use anonymous segments, whose
// size is sealed. Files of other users are refused unless [Options].AnyUser is set, symbolic links
// always; a new file has mode 0600.
//
// # Platforms
//
// Segments need Linux, 64 or 32 bits, either byte order. On other systems the package builds, and all
// that would make or attach to a segment answers [errors.ErrUnsupported].
package shmem
