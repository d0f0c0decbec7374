package shmem

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/shmembox/shmem/internal/errs"
)

// Errors to be tested for with errors.Is. Besides these, fs.ErrNotExist (nothing to attach to),
// fs.ErrExist (Create of what exists), fs.ErrPermission and errors.ErrUnsupported are answered
// with their usual meaning, and every error of the operating system can be found with errors.As.
var (
	// ErrClosed: the box or segment was closed, or is being closed.
	ErrClosed = errs.Closed
	// ErrBadName: the name is no segment's name; see the package documentation.
	ErrBadName = errs.BadName
	// ErrBadType: the type cannot be shared. The detail is a *TypeError.
	ErrBadType = errs.BadType
	// ErrMismatch: the segment holds something else than asked for. The detail is a *MismatchError.
	ErrMismatch = errs.Mismatch
	// ErrForeign: there is a file of that name, but ShmemBox did not make it.
	ErrForeign = errs.Foreign
	// ErrNotRegular: there is something of that name which is no regular file.
	ErrNotRegular = errs.NotRegular
	// ErrOtherUser: the segment is another user's, and Options.AnyUser was not set.
	ErrOtherUser = errs.OtherUser
	// ErrCorrupt: the bookkeeping of the segment is damaged. Only Remove touches it.
	ErrCorrupt = errs.Corrupt
	// ErrVersion: another version of ShmemBox, or a machine of another byte order, made the segment.
	ErrVersion = errs.Version
	// ErrContended: other processes changed what the call needed faster than it could finish.
	ErrContended = errs.Contended
	// ErrBusy: another process held the segment's gate for the whole of Options.Timeout; it may be stopped.
	ErrBusy = errs.Busy
	// ErrReadOnly: the segment is attached read-only.
	ErrReadOnly = errs.ReadOnly
	// ErrNoSpace: the memory cannot be had. The detail is a *SpaceError.
	ErrNoSpace = errs.NoSpace
	// ErrNoSlot: every slot of the segment is taken.
	ErrNoSlot = errs.NoSlot
	// ErrDropped: the owner has dropped the value; only those who were attached still see its memory.
	ErrDropped = errs.Dropped
	// ErrFault: memory could not be accessed. The detail is a *FaultError.
	ErrFault = errs.Fault
)

// An Error says which operation failed on which segment. All functions of this package that can
// fail return their errors as an *Error.
type Error struct {
	Op   string // the operation, such as "open"
	Name string // the segment's name, or the path of a foreign one
	Err  error  // what went wrong, and what to do about it
}

// Error is "shmem: op name: cause".
func (e *Error) Error() string {
	if e.Name == "" {
		return "shmem: " + e.Op + ": " + e.Err.Error()
	}
	return "shmem: " + e.Op + " " + e.Name + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

func wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(*Error); ok {
		return err
	}
	return &Error{op, name, err}
}

// A TypeError says why a type cannot be shared. It is ErrBadType.
type TypeError struct {
	Type   reflect.Type
	Path   string // as main.Config.Routes[].Name
	Reason string // and what to use instead
}

// Error is "path: reason".
func (e *TypeError) Error() string { return e.Path + ": " + e.Reason }

// Is reports whether target is ErrBadType.
func (e *TypeError) Is(target error) bool { return target == ErrBadType }

// A MismatchError says in what the type asked for and the segment differ. It is ErrMismatch.
type MismatchError struct {
	Differences []string  // a line for each field, "here" being this program's type
	Program     string    // that created the segment
	Created     time.Time // when it did
}

// Error gives every difference.
func (e *MismatchError) Error() string {
	var b strings.Builder
	b.WriteString(strings.Join(e.Differences, "; "))
	fmt.Fprintf(&b, " (created by %q %s ago)", e.Program, age(time.Since(e.Created)))
	return b.String()
}

// Is reports whether target is ErrMismatch.
func (e *MismatchError) Is(target error) bool { return target == ErrMismatch }

func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// A SpaceError says that a directory has no room for a segment. It is ErrNoSpace and, like the
// kernel's own answer, syscall.ENOSPC where that was it.
type SpaceError struct {
	Dir        string
	Need       int64 // bytes of the new segment, bookkeeping included
	Free, Size int64 // bytes of the file system under Dir; 0 if unknown
	Err        error // the kernel's answer
}

// Error says what is needed, what there is and what to do.
func (e *SpaceError) Error() string {
	return fmt.Sprintf("%s has no room: %s needed, %s of %s free (%v); remove segments (List shows them, Reclaim takes away dead ones), "+
		"or make the file system larger: containers give /dev/shm 64 MiB by default (docker run --shm-size=1g; Kubernetes: an emptyDir with medium Memory), "+
		"or set Options.Dir to a larger tmpfs", e.Dir, size(e.Need), size(e.Free), size(e.Size), e.Err)
}

// Is reports whether target is ErrNoSpace.
func (e *SpaceError) Is(target error) bool { return target == ErrNoSpace }

// Unwrap returns the kernel's answer.
func (e *SpaceError) Unwrap() error { return e.Err }

func size(n int64) string {
	const k = 1 << 10
	switch {
	case n < 10*k:
		return fmt.Sprintf("%d B", n)
	case n < 10*k*k:
		return fmt.Sprintf("%d KiB", n/k)
	case n < 10*k*k*k:
		return fmt.Sprintf("%d MiB", n/k/k)
	}
	return fmt.Sprintf("%d GiB", n/k/k/k)
}

// A FaultError says that memory of a segment could not be accessed: somebody has truncated its
// file, or a pointer was used after Close. It is ErrFault.
type FaultError struct {
	Name string
	Addr uintptr // the address that could not be accessed
	Err  error   // the runtime's error
}

// Error names the segment and the likely cause.
func (e *FaultError) Error() string {
	return fmt.Sprintf("fault at %#x in the memory of %s: its file was truncated by somebody, or a pointer was used after Close", e.Addr, e.Name)
}

// Is reports whether target is ErrFault.
func (e *FaultError) Is(target error) bool { return target == ErrFault }

// Unwrap returns the runtime's error.
func (e *FaultError) Unwrap() error { return e.Err }
