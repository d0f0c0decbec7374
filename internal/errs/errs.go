// Package errs holds the sentinel errors of all layers. An internal layer returns them wrapped
// with the cause and the remedy; package shmem exports them, documents each one, and adds
// operation and name.
package errs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// The sentinels. Package shmem exports X as ErrX and says when it is returned; package psync
// exports NotHeld, NotShared and NoRoom.
var (
	Closed     = fs.ErrClosed
	BadName    = errors.New("bad name")
	BadOption  = errors.New("bad option")
	BadType    = errors.New("type cannot be shared")
	Mismatch   = errors.New("the segment holds another type")
	Foreign    = errors.New("not a ShmemBox segment")
	NotRegular = errors.New("not a regular file")
	OtherUser  = errors.New("belongs to another user")
	Unsealed   = errors.New("it has no name and is not sealed")
	Corrupt    = errors.New("the segment's bookkeeping is corrupt")
	Version    = errors.New("made by another version of ShmemBox")
	Copied     = errors.New("it is a copy of a segment")
	Contended  = errors.New("other processes change it all the time")
	Busy       = errors.New("another process holds the gate")
	ReadOnly   = errors.New("attached read-only")
	NoSpace    = errors.New("not enough shared memory")
	NoSlot     = errors.New("every slot is taken")
	Unlinked   = errors.New("its owner closed it or it was removed; open it again")
	Dropped    = errors.New("the value was dropped")
	Fault      = errors.New("memory fault")
	OwnerDied  = errors.New("the process that held the lock died; Recover repairs the value and " +
		"reopens it")
	NotHeld   = errors.New("not held by this attachment")
	NotShared = errors.New("the value was copied out of its segment")
	NoRoom    = errors.New("the lock has no room for one more holder")
)

// NoContext is returned by a call that would wait with a nil context.
var NoContext = fmt.Errorf("%w: the context is nil; use context.Background()", BadOption)

// Entered is returned by a call that waits, and has registered with the wait.Group that is its
// context. To other code it is context.Canceled.
var Entered = fmt.Errorf("registered: %w", context.Canceled)

// Context is ctx.Err, and NoContext if ctx is nil.
func Context(ctx context.Context) error {
	if ctx == nil {
		return NoContext
	}
	return ctx.Err()
}

// A Worded error is a sentinel in words that fit the operation.
type Worded struct {
	Text     string
	Sentinel error
}

// Error returns the text.
func (e *Worded) Error() string { return e.Text }

// Unwrap returns the sentinel.
func (e *Worded) Unwrap() error { return e.Sentinel }

// NamedClosed returns Closed that says what is closed, such as "box".
func NamedClosed(what string) error { return &Worded{"the " + what + " is closed", Closed} }
