package stream

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/errs"
)

// The errors of queues and topics. Packages queue and topic export them, and say when each is
// returned.
var (
	ErrFull   = errors.New("full")
	ErrEmpty  = errors.New("no message is there")
	ErrEnded  = errors.New("the stream has ended; remove the segment to begin another one")
	ErrTooBig = errors.New("message too large")
	ErrLost   = errors.New("the message was overwritten while it was read")
	ErrNoHold = errors.New("every hold is taken; " +
		"close a subscription, or create the topic with more Options.Holds")
)

// Errors makes the errors of one operation of one attachment. The errors of calls that do not block
// are made once: such a call may fail millions of times a second. Its methods are safe for
// concurrent use.
type Errors struct {
	op, name string
	once     [len(madeOnce)]shmem.Error
}

// madeOnce are the causes whose errors are made once.
var madeOnce = [...]error{
	ErrFull, ErrEmpty, ErrEnded, shmem.ErrClosed, shmem.ErrReadOnly, errEndClosed,
	shmem.ErrUnlinked,
}

// errEndClosed is the cause of Errors.EndClosed.
var errEndClosed = errs.NamedClosed("end")

// Words say what the errors of an operation call things, and what to do.
type Words struct {
	Full  string // what to do when there is no room
	Empty string // what to do when there is no message
	End   string // the end that can be closed: "sender", "receiver", "subscription"
}

// Init prepares e for an operation, such as "queue send", on the segment of that name.
func (e *Errors) Init(op, name string, w Words) {
	e.op, e.name = op, name
	kind, _, _ := strings.Cut(op, " ")
	for i, cause := range madeOnce {
		switch cause {
		case ErrFull:
			cause = &errs.Worded{Text: "the " + kind + " is full; " + w.Full, Sentinel: ErrFull}
		case ErrEmpty:
			cause = &errs.Worded{Text: "there is no message; " + w.Empty, Sentinel: ErrEmpty}
		case shmem.ErrClosed:
			cause = errs.NamedClosed(kind)
		case errEndClosed:
			cause = errs.NamedClosed(w.End)
		}
		e.once[i] = shmem.Error{Op: op, Name: name, Err: cause}
	}
}

// Cause returns err in the words of e where it is a sentinel, for errors of other operations.
func (e *Errors) Cause(err error) error {
	for i, cause := range madeOnce {
		if err == cause {
			return e.once[i].Err
		}
	}
	return err
}

// EndClosed returns the error of a call of a closed sender, receiver or subscription.
func (e *Errors) EndClosed() error { return e.Of(errEndClosed) }

// Of returns a *shmem.Error with the cause err. It returns nil and io.EOF as they are.
//
//go:noinline
func (e *Errors) Of(err error) error {
	if err == nil || err == io.EOF || err == errs.Entered {
		return err
	}
	for i, cause := range madeOnce {
		if err == cause {
			return &e.once[i]
		}
	}
	return &shmem.Error{Op: e.op, Name: e.name, Err: err}
}

// Corrupt returns the cause of a ring whose words say what cannot be.
func Corrupt(err error) error { return fmt.Errorf("%w (%v)", shmem.ErrCorrupt, err) }

// Corrupt returns the error of a ring whose words say what cannot be.
func (e *Errors) Corrupt(err error) error { return e.Of(Corrupt(err)) }
