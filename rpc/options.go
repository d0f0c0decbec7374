package rpc

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/calls"
	"github.com/shmembox/shmem/internal/stream"
)

// ServeOptions say how a service is created or joined. A nil *ServeOptions, and the zero value of
// each field, is the default.
type ServeOptions struct {
	// Dir is the directory of the segment, on a tmpfs. Default: /dev/shm.
	Dir string
	// Disk accepts a Dir that is on a disk, to which the kernel writes every change of the memory.
	// Without it such a Dir is shmem.ErrBadOption.
	Disk bool
	// Timeout is how long opening and closing wait for another process that is in the middle of
	// creating, attaching or closing, before shmem.ErrBusy. Default: 5 s. It cannot be negative.
	Timeout time.Duration
	// Mode is the file's permission bits, whatever the umask is. Default: 0600, or 0660 with Group.
	// Where the service exists, a Mode that is set must be the one it has.
	Mode fs.FileMode
	// Group shares the segment with a group, by name or number; see shmem.Options. Default: none.
	Group string
	// Slots is how many attachments there can be at a time, 1 to 1024. Default: 256. Where the
	// service exists, Slots that are set must be those it was created with.
	Slots int
	// Lifetime says when the segment ends. Default: shmem.Shared when it is created; where the
	// segment exists, a Lifetime that is set must be the one it was created with.
	Lifetime shmem.Lifetime
	// AnyUser accepts a segment that another user created. Its owner can do with it what it likes.
	AnyUser bool
	// Populate is how large the segment may be, in bytes, for its pages to be made present when it
	// is mapped. Default: 64 MiB. Negative: none.
	Populate int
	// HugePages makes the pages huge where the kernel can; see shmem.Options.
	HugePages bool
	// Logger gets a record of what the library does after deaths; see shmem.Options.
	Logger *slog.Logger

	// Calls is how many calls there can be at a time, from all clients, 1 to 4096. Further calls
	// wait. Each takes the memory of a request and a reply. Default: 64. Where the service exists,
	// Calls that are set must be those it was created with.
	Calls int
	// Handlers is how many handlers of this process run at a time. Default: Calls. It cannot be
	// negative.
	Handlers int
	// Grace is how long handlers may run on when the context of Serve is done, before their
	// contexts are canceled. Default: 5 s. Negative: they are canceled at once.
	Grace time.Duration
	// Errors are those that a client finds again by errors.Is. See Client.
	Errors []error
}

// DialOptions say how a client reaches a service. A nil *DialOptions, and the zero value of each
// field, is the default.
type DialOptions struct {
	// Dir is the directory of the segment, on a tmpfs. Default: /dev/shm.
	Dir string
	// Disk accepts a Dir that is on a disk; see ServeOptions.
	Disk bool
	// Timeout is how long attaching and closing wait for another process that is in the middle of
	// creating, attaching or closing, before shmem.ErrBusy. Default: 5 s. It cannot be negative.
	Timeout time.Duration
	// AnyUser accepts a segment that another user created. Its owner can do with it what it likes.
	AnyUser bool
	// Populate is how large the segment may be, in bytes, for its pages to be made present when it
	// is mapped. Default: 64 MiB. Negative: none.
	Populate int
	// HugePages makes the pages huge where the kernel can; see shmem.Options.
	HugePages bool
	// Logger gets a record of what the library does after deaths; see shmem.Options.
	Logger *slog.Logger

	// Idempotent declares that the handler may run twice for one call. A call whose server dies is
	// given to another server then, or waits for one as WaitForServer says. Otherwise, and if no
	// server is alive then, it returns ErrServerDied.
	Idempotent bool
	// WaitForServer lets a call wait until its context is done while no server is alive. Otherwise
	// it returns ErrNoServer.
	WaitForServer bool
	// Errors are those that a client finds again by errors.Is. See Client.
	Errors []error
}

const (
	defaultCalls = 64
	defaultGrace = 5 * time.Second
)

// Errors to be tested for with errors.Is. The functions also return shmem.ErrClosed after Close,
// shmem.ErrUnlinked when the service was removed, the context's error, and when opening those of
// package shmem.
var (
	// ErrNoServer is returned by a call that no server has begun, while no server is alive. It can
	// be made again.
	ErrNoServer = errors.New("no server is alive")
	// ErrServerDied is returned by a call that a server had begun when it died. The handler may
	// have done its work or not.
	ErrServerDied = errors.New("the server died during the call")
	// ErrTooLarge is returned when a request or reply in bytes is larger than the service allows.
	ErrTooLarge = errors.New("too large")
)

// A config is the options of a server with every default in place.
type config struct {
	segment  *shmem.Options
	calls    int
	claim    int // the Calls that are asked for; 0: none
	handlers int
	grace    time.Duration
	kinds    []kind
}

func (o *ServeOptions) config() (c config, err error) {
	if o == nil {
		o = new(ServeOptions)
	}
	c = config{calls: o.Calls, claim: o.Calls, handlers: o.Handlers, grace: o.Grace}
	c.segment = &shmem.Options{
		Dir: o.Dir, Disk: o.Disk, Timeout: o.Timeout, Mode: o.Mode, Group: o.Group, Slots: o.Slots,
		Lifetime: o.Lifetime, AnyUser: o.AnyUser, Populate: o.Populate, HugePages: o.HugePages,
		Logger: o.Logger,
		Undo:   shmem.UndoNever,
	}
	if c.calls == 0 {
		c.calls = defaultCalls
	}
	if c.grace == 0 {
		c.grace = defaultGrace
	}
	switch {
	case c.calls < 0 || c.calls > calls.MaxCalls:
		return c, badOption("Calls %d: must be 1 to %d", c.calls, calls.MaxCalls)
	case c.handlers < 0:
		return c, badOption("Handlers %d: cannot be negative", c.handlers)
	}
	c.kinds, err = kindsOf(o.Errors)
	return c, err
}

func badOption(format string, args ...any) error {
	return fmt.Errorf("%w: Options."+format, append([]any{shmem.ErrBadOption}, args...)...)
}

// A dialConfig is the options of a client.
type dialConfig struct {
	segment             *shmem.Options
	idempotent, waiting bool
	kinds               []kind
}

func (o *DialOptions) config() (c dialConfig, err error) {
	if o == nil {
		o = new(DialOptions)
	}
	c = dialConfig{idempotent: o.Idempotent, waiting: o.WaitForServer}
	c.segment = &shmem.Options{
		Dir: o.Dir, Disk: o.Disk, Timeout: o.Timeout, AnyUser: o.AnyUser, Populate: o.Populate,
		HugePages: o.HugePages,
		Logger:    o.Logger,
	}
	c.kinds, err = kindsOf(o.Errors)
	return c, err
}

// plan returns how to open a segment.
func plan(op, name string, mode stream.Mode, o *shmem.Options) *stream.Plan {
	return &stream.Plan{Op: op, Name: name, Mode: mode, Options: o}
}
