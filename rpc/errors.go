package rpc

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"unicode/utf8"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/calls"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/layout"
)

// A HandlerError is the error of a handler, as the client of the call sees it. errors.Is finds in
// it what it finds in the handler's error, of the errors in the option Errors and of these:
// context.Canceled, context.DeadlineExceeded, fs.ErrNotExist, fs.ErrExist, fs.ErrPermission,
// errors.ErrUnsupported, io.EOF and io.ErrUnexpectedEOF. At most four of them arrive.
type HandlerError struct {
	Text string // what Error of the handler's error has returned; its first 256 bytes
	is   []error
}

// Error returns the text.
func (e *HandlerError) Error() string { return e.Text }

// Unwrap returns the errors that the handler's error was.
func (e *HandlerError) Unwrap() []error { return e.is }

// The outcome of a call, in the word Status.
const (
	replied  = 0
	failed   = 1 // the handler returned an error
	tooLarge = 2 // it returned more bytes than there is room for
)

// A kind is an error that is found again on the other side, by the hash of its text.
type kind struct {
	hash uint64
	err  error
}

// usual are the kinds that both sides always know.
var usual = func() (all []kind) {
	for _, err := range []error{
		context.Canceled, context.DeadlineExceeded, fs.ErrNotExist, fs.ErrExist, fs.ErrPermission,
		errors.ErrUnsupported, io.EOF, io.ErrUnexpectedEOF,
	} {
		all = append(all, kind{hashOf(err.Error()), err})
	}
	return all
}()

func hashOf(text string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, text)
	return h.Sum64() | 1
}

// kindsOf returns the usual kinds and those of an option.
func kindsOf(list []error) ([]kind, error) {
	all := usual[:len(usual):len(usual)]
	for i, err := range list {
		if err == nil {
			return nil, badOption("Errors[%d] is nil", i)
		}
		hash := hashOf(err.Error())
		for _, k := range all {
			if k.hash == hash && k.err != err {
				return nil, badOption("Errors[%d]: another one has the text %q too", i, err)
			}
		}
		all = append(all, kind{hash, err})
	}
	return all, nil
}

// fail writes the outcome of a call, which is err.
func (c *core) fail(i int, err error) {
	s := c.t.Slot(i)
	if err == errReplyTooLarge { // not one that a call of the handler has returned
		s.Status.Store(tooLarge)
		return
	}
	text := err.Error()
	if n := layout.CallText; len(text) > n {
		for n > layout.CallText-utf8.UTFMax && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	s.Text.Store(uint64(copy(c.text(i), text)))
	n := 0
	for _, k := range c.kinds {
		if n < len(s.Kinds) && errors.Is(err, k.err) {
			s.Kinds[n].Store(k.hash)
			n++
		}
	}
	for ; n < len(s.Kinds); n++ {
		s.Kinds[n].Store(0)
	}
	s.Status.Store(failed)
}

// outcome returns the error of a call that is done.
func (c *core) outcome(s *calls.Slot, i int) error {
	switch s.Status.Load() {
	case replied:
		return nil
	case failed:
	case tooLarge:
		return errReplyTooLarge
	default:
		return shmem.ErrCorrupt
	}
	e := &HandlerError{Text: string(c.text(i)[:min(s.Text.Load(), layout.CallText)])}
	for j := range s.Kinds {
		hash := s.Kinds[j].Load()
		for _, k := range c.kinds {
			if k.hash == hash {
				e.is = append(e.is, k.err)
			}
		}
	}
	return e
}

var (
	errNoServer = &errs.Worded{
		Text: "no server is alive, and none has begun the call; try again, or dial with " +
			"DialOptions.WaitForServer",
		Sentinel: ErrNoServer,
	}
	errServerDied = &errs.Worded{
		Text: "the server died during the call, which may have been done or not; if it can be " +
			"done twice, dial with DialOptions.Idempotent",
		Sentinel: ErrServerDied,
	}
	errReplyTooLarge = &errs.Worded{
		Text:     "the reply is too large; create the service with a larger reply",
		Sentinel: ErrTooLarge,
	}
	errExited  = errors.New("rpc: the handler has ended its goroutine, by runtime.Goexit")
	errServers = &errs.Worded{
		Text: fmt.Sprintf("%d attachments serve already, and there can be no more; end one of "+
			"them", calls.MaxServers),
		Sentinel: shmem.ErrNoSlot,
	}
	errClosed = errs.NamedClosed("client")
)
