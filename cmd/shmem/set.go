package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// setCmd changes parts of a value. The work is done by inspect.Set.
type setCmd struct {
	Name    string        `arg:"" help:"The segment."`
	Set     []string      `arg:"" name:"path=value" help:"What to set: Limit=10, Routes[3].Name=default."`
	Timeout time.Duration `default:"5s" help:"How long to wait for the lock (${default})."`
}

func (*setCmd) Help() string {
	return `All of it is set in one change, or nothing. Values are checked against the schema
first: numbers (0x too), true and false, texts, durations for a time.Duration, bytes as text or 0x
and hex digits, JSON for structs, arrays and lists:

  $ shmem set config Limit=0x40 'Routes[0]={"Name":"up","Weight":3}'

The command attaches for a moment and takes the box's lock as Update does. It does not take over the
cleanup of a dead owner's segment.`
}

func (c *setCmd) Run(e *env) error {
	if err := plainName(c.Name); err != nil {
		return err
	}
	var all []inspect.Assignment
	for _, s := range c.Set {
		path, value, ok := strings.Cut(s, "=")
		if !ok {
			return usageError{fmt.Errorf("%q: PATH=VALUE is needed", s)}
		}
		all = append(all, inspect.Assignment{Path: path, Value: value})
	}
	if err := e.needsBox(c.Name, "changes values of boxes"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(e.ctx, c.Timeout)
	defer cancel()
	err := inspect.Set(ctx, c.Name, e.opts(), all...)
	// the path or the value does not fit the schema
	if err != nil && !isAny(err, setErrors...) && !isOS(err) {
		err = fmt.Errorf("%w (%w)", err, errRefused)
	}
	return err
}

// setErrors are the errors of inspect.Set that have their own exit codes. All others are about the
// schema.
var setErrors = []error{
	shmem.ErrBusy, shmem.ErrContended, shmem.ErrCorrupt, shmem.ErrForeign, shmem.ErrMismatch,
	shmem.ErrNoSpace,
	shmem.ErrNoSlot, context.DeadlineExceeded, context.Canceled, errors.ErrUnsupported,
}
