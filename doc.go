// Package shmem shares Go values between processes, in named pieces of shared memory that survive
// the death of any of these processes at any moment.
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
// A segment is a file in a tmpfs directory, by default /dev/shm: the segment x is what
// shm_open("/x") opens in C. A name has 1 to [MaxName] letters, digits, dots, underscores and
// hyphens, and does not begin with a dot. The value is at the beginning of the file, as a C struct
// of the same fields would be. Behind it is the control block, which this package adds. Every
// process that opens the name in the same directory gets the same memory, also in containers that
// share the directory.
//
// [CreateAnonymous] creates a segment without a name, which is passed on as a file descriptor.
//
// # Ownership
//
// The process that creates a segment owns it. The owner's Close unlinks the name and drops the
// value (see [Dropper]), once. Close of any other attachment only detaches. A segment has one
// owner or none:
//
//   - [Box.Own] makes the caller the owner, and the former one stops being it;
//   - [Box.Leak] closes the box and leaves the segment kept: without owner, until owned or removed;
//   - [Options].Lifetime creates it so, or [Shared]: without owner, until the last one leaves;
//   - the owner's death leaves it orphaned, see below.
//
// Two boxes of one name in one process are two attachments, like those of two processes.
//
// A new segment gets its name when it is complete: sized, backed by memory, and its value
// initialised (see [Initializer]). No process ever sees less.
//
// # Types
//
// T is any type of fixed size without Go pointers: booleans, numbers, arrays and structs of them,
// the types of sync/atomic except Value and Pointer, those of package psync, [Text] for a string
// and [Vec] for a slice. For any other type the error is a [TypeError], which names the field and
// says what to use instead.
//
// The layout of T is stored in the segment. Attaching with a T of another layout fails with a
// [MismatchError], which names the fields. [Options].Append lets a type grow at its end. A segment
// does not grow: [Options].Reserve is room for later.
//
// # Crashes
//
// The kernel detaches a process that dies, however it dies. Liveness is determined by locks on the
// segment's file (open file description locks), never by process ids, heartbeats or timeouts.
//
// If the process owned the segment, the segment is orphaned. Other attachments continue
// undisturbed, and the last one to close does the owner's cleanup. If there is none, the segment
// is garbage: the next [Open] or [Create] of the name starts afresh, [Attach] finds nothing, and
// [Reclaim] removes it. Garbage is not dropped, since its value may be half changed. A segment
// that a living process is attached to loses its name only by its owner's Close, by [Remove], or
// when the file is deleted; [Segment.Linked] reports that, and [Segment.Unlinked] tells when.
//
// [os.Exit], log.Fatal, a panic that is not recovered, and a signal that is not caught end a
// process without its deferred calls: for the segment that is a death. Catch SIGTERM with
// [os/signal.NotifyContext]. A stopped process is alive. If it holds the gate, calls of other
// processes return [ErrBusy] after [Options].Timeout.
//
// # Waiting
//
// Every method that can wait without bound takes a [context.Context] first, and returns its error
// when it is done. Opening, Close, Own and Remove wait for the gate, the lock under which a
// segment changes hands, and only as long as [Options].Timeout: they take no context. Close also
// waits, without bound, for functions of the caller that still run: those passed to [Box.Do],
// [Box.View], [Box.Update] and [Box.Recover], to SendFunc and RecvFunc of packages queue and topic,
// and to Once.Do of package psync. It gives goroutines that hold locks of package psync in the
// value up to 100 ms to unlock. All other calls that wait return [ErrClosed].
//
// # Memory model and concurrency
//
// The methods of [Box] and [Segment] are safe for concurrent use. The value that [Box.Value]
// points to is memory like any other, and shared with more: access to it must be synchronised
// between processes as between goroutines. Atomics in T work as they do in one process, and
// package psync has locks that live in T and report the death of their holder. Package kv has maps,
// and package limit rate limits. The race detector sees only the goroutines of its own process.
//
// [Box.View] and [Box.Update] bracket access by a lock of the box's own, and undo what a failing
// or dying Update has changed. [Box.Load] and [Box.Store] copy the value as a whole, Load without
// a lock. [Box.Wait] and [Box.Watch] wait for changes.
//
// A pointer to the value is valid until Close. After Close it faults, which [Box.Do] turns into an
// error; it never leads to other memory.
//
// # Errors
//
// Every error is an [*Error] with operation and name, and wraps one of the sentinels of this
// package or an error of the operating system. Two kinds are returned as they are: a bare io.EOF
// of [Segment.ReadAt], and the error of a function that the caller passes to [Box.Do], [Box.View],
// [Box.Update] or [Box.Recover]. [Error] names the exceptions of the other packages.
//
// # Untrusted peers
//
// A process that may open the file may change every byte of it, at any time. What this package
// keeps there is checked whenever it is used: damage is [ErrCorrupt]. The value is yours to check;
// copy it first. A peer with write access can also truncate a named file. Access to the value is
// then a fault, which ends the process unless it happens in [Box.Do] or another method of the box.
// Among peers that do not trust each other use anonymous segments, whose size is sealed. Files of
// other users are refused unless [Options].AnyUser is set, symbolic links always; a new file has
// mode 0600.
//
// # Platforms
//
// Segments need Linux, 64 or 32 bits, either byte order. macOS and Windows, 64 bits, are
// experimental: docs/ports.md says what is weaker there. On other systems the package builds, and
// every function that would create or attach to a segment returns [errors.ErrUnsupported].
package shmem
