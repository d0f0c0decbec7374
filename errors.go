package shmem

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/segment"
)

// Sentinel errors, to be tested for with errors.Is. Functions also return fs.ErrNotExist (there is
// nothing to attach to), fs.ErrExist (Create of a name that exists), fs.ErrPermission,
// errors.ErrUnsupported and the errors of a context, with their usual meaning. Errors of the
// operating system can be found with errors.As.
var (
	// ErrClosed is returned when the box or segment is closed, or is being closed.
	ErrClosed = errs.Closed
	// ErrBadName is returned when a name cannot be that of a segment; see the package
	// documentation.
	ErrBadName = errs.BadName
	// ErrBadOption is returned when an option has a value that it cannot have, and when a call that
	// would wait has a nil context.
	ErrBadOption = errs.BadOption
	// ErrBadType is returned when a type cannot be shared. The detail is a *TypeError.
	ErrBadType = errs.BadType
	// ErrMismatch is returned when the segment holds another type or size than was asked for, or
	// was created with other options. The detail is a *MismatchError where the segment records what
	// it holds.
	ErrMismatch = errs.Mismatch
	// ErrForeign is returned when the file of that name has no control block: another program made
	// it, or it was truncated. It is also returned when a foreign segment cannot do what was asked
	// for.
	ErrForeign = errs.Foreign
	// ErrNotRegular is returned when the name leads to something that is not a regular file.
	ErrNotRegular = errs.NotRegular
	// ErrOtherUser is returned when another user created the segment, without Options.AnyUser.
	ErrOtherUser = errs.OtherUser
	// ErrUnsealed is returned by FromFile when the file has no name and is not sealed against
	// truncation, without Options.AnyUser.
	ErrUnsealed = errs.Unsealed
	// ErrCorrupt is returned when the control block of the segment is damaged. Remove still works.
	ErrCorrupt = errs.Corrupt
	// ErrVersion is returned when another version of ShmemBox, or a machine of another byte order,
	// created the segment.
	ErrVersion = errs.Version
	// ErrCopied is returned when the file is a copy of a segment, such as one made by cp: its words
	// belong to the processes that are attached to the original. Remove removes it.
	ErrCopied = errs.Copied
	// ErrContended is returned when other processes change what a call needs faster than it can
	// finish.
	ErrContended = errs.Contended
	// ErrBusy is returned when another process holds the segment's gate for longer than
	// Options.Timeout; that process may be stopped.
	ErrBusy = errs.Busy
	// ErrReadOnly is returned when a call needs to write and the segment is attached read-only.
	ErrReadOnly = errs.ReadOnly
	// ErrNoSpace is returned when there is not enough shared memory. The detail is a *SpaceError.
	ErrNoSpace = errs.NoSpace
	// ErrNoSlot is returned when as many are attached as Options.Slots allows.
	ErrNoSlot = errs.NoSlot
	// ErrUnlinked is returned when the name was taken from a queue or topic: its owner closed it,
	// or it was removed. What was sent before can still be received by those attached; open the
	// name anew to go on.
	ErrUnlinked = errs.Unlinked
	// ErrDropped is returned when a segment cannot be owned because its owner has dropped the
	// value.
	ErrDropped = errs.Dropped
	// ErrFault is returned when memory of a segment cannot be accessed. The detail is a
	// *FaultError.
	ErrFault = errs.Fault
	// ErrOwnerDied is returned when a process has died while it changed the value, and there is no
	// undo image (see Options.Undo). Box.Recover makes the value usable again.
	ErrOwnerDied = errs.OwnerDied
)

// An Error says which operation failed on which segment. Every function of this module that can
// fail returns its error as an *Error, with three exceptions. A bare io.EOF is the end of what
// Segment.ReadAt and the receiving calls of packages queue and topic read. The error of a function
// that the caller has passed is returned as it is. Package shmemtest, and Type.Of, Type.Generate
// and Value.At of package inspect, return plain errors: they concern no segment.
type Error struct {
	Op   string // operation, such as "open"
	Name string // name of the segment, or path of a foreign one; "" if there is none
	Err  error  // cause, and where there is one a remedy
}

// Error returns "shmem: op name: cause", or "shmem: op: cause" where Name is empty. A cause may end
// with "; remedy".
func (e *Error) Error() string {
	if e.Name == "" {
		return "shmem: " + e.Op + ": " + e.Err.Error()
	}
	return "shmem: " + e.Op + " " + printable(e.Name) + ": " + e.Err.Error()
}

// printable returns name, quoted if it is not printable text. A name that is refused can come from
// a request, and the error goes to a log or a terminal.
func printable(name string) string {
	unprintable := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if strings.ContainsFunc(name, unprintable) {
		return strconv.Quote(name)
	}
	return name
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// A TypeError says why a type cannot be shared. It is ErrBadType.
type TypeError struct {
	Type   reflect.Type // type of the field
	Path   string       // path to the field, such as main.Config.Routes[].Name
	Reason string       // what is wrong with it, and what to use instead
}

// Error returns "path: reason", or the reason alone where the path is the type itself.
func (e *TypeError) Error() string { return (*format.TypeError)(e).Error() }

// Is reports whether target is ErrBadType.
func (e *TypeError) Is(target error) bool { return target == ErrBadType }

// A MismatchError lists how the requested type and the segment differ. It is ErrMismatch.
type MismatchError struct {
	Differences []string  // a line for each field; "here" is this program's type
	Program     string    // program that created the segment
	Created     time.Time // when it created the segment
}

// Error returns every difference, which program created the segment when, and what to do.
func (e *MismatchError) Error() string { return (*segment.MismatchError)(e).Error() }

// Is reports whether target is ErrMismatch.
func (e *MismatchError) Is(target error) bool { return target == ErrMismatch }

// A SpaceError says that a directory has no room for a segment. It is ErrNoSpace and, where the
// kernel has returned that, syscall.ENOSPC.
type SpaceError struct {
	Dir        string // directory of the segment; "memory" if the machine or a cgroup has no room
	Need       int64  // bytes of the new segment, control block included
	Free, Size int64  // bytes of the file system under Dir; 0: unknown
	Group      string // the memory cgroup whose limit it is; Free and Size are its bytes
	NoInode    bool   // the file system has no room for another file, however small
	Err        error  // the kernel's error
}

// Error says what is needed, what is free, and what to do.
func (e *SpaceError) Error() string { return (*segment.SpaceError)(e).Error() }

// Is reports whether target is ErrNoSpace.
func (e *SpaceError) Is(target error) bool { return target == ErrNoSpace }

// Unwrap returns the kernel's error.
func (e *SpaceError) Unwrap() error { return e.Err }

// A FaultError says that memory of a segment could not be accessed: its file was truncated, a
// pointer was used after Close, or a read-only value was written to. It is ErrFault.
type FaultError struct {
	Name string  // path of the segment
	Addr uintptr // address that could not be accessed
	Err  error   // the runtime's error

	ReadOnly bool // the attachment cannot write the memory
}

// Error returns the address, the segment and the likely cause.
func (e *FaultError) Error() string { return (*segment.FaultError)(e).Error() }

// Is reports whether target is ErrFault.
func (e *FaultError) Is(target error) bool { return target == ErrFault }

// Unwrap returns the runtime's error.
func (e *FaultError) Unwrap() error { return e.Err }

// public makes an error of an internal layer public: it adds operation and name, and turns plain
// error types into those of this package. A nil err stays nil, and an *Error is returned as it is.
func public(op, name string, err error) error {
	if err == nil || err == errs.Entered {
		return err
	}
	if _, ok := err.(*Error); ok {
		return err
	}
	if err == errs.Closed {
		return &Error{op, name, closedBy(op)}
	}
	return &Error{op, name, publicCause(err)}
}

var (
	errBoxClosed     = errs.NamedClosed("box")
	errSegmentClosed = errs.NamedClosed("segment")
)

// closedBy returns ErrClosed in the words of an operation.
func closedBy(op string) error {
	switch op {
	case "do", "view", "update", "recover", "load", "store", "wait", "watch":
		return errBoxClosed
	}
	return errSegmentClosed
}

func publicCause(err error) error {
	switch e := err.(type) {
	case *segment.SpaceError:
		return (*SpaceError)(e)
	case *segment.MismatchError:
		return (*MismatchError)(e)
	case *segment.FaultError:
		return (*FaultError)(e)
	case *format.TypeError:
		return (*TypeError)(e)
	case interface{ Unwrap() []error }:
		// Of Close: one error of leaving, and one of dropping the value.
		all := e.Unwrap()
		if errors.Join(all...).Error() != err.Error() {
			return err // not a plain errors.Join
		}
		joined := make([]error, len(all))
		for i, one := range all {
			joined[i] = publicCause(one)
		}
		return errors.Join(joined...)
	}
	return err
}
