package main

import (
	"context"
	"time"

	"github.com/shmembox/shmem/inspect"
)

// recoverCmd recovers a value or a lock. The work is done by inspect.Recover.
type recoverCmd struct {
	Name    string        `arg:"" help:"The segment."`
	Path    string        `arg:"" optional:"" help:"A psync.Mutex or RWMutex in the value; none: the box's own lock."`
	Timeout time.Duration `default:"5s" help:"How long to wait for the lock (${default})."`
}

func (*recoverCmd) Help() string {
	return `After a death, "shmem check" says which value or lock needs this. For the box's own lock
it does what the next Update would do: the change of the writer that died is undone. For a lock in
the value it declares that what the lock guards is in order; look at the value first (shmem cat). A
lock that no process died with stays as it is.`
}

func (c *recoverCmd) Run(e *env) error {
	if err := plainName(c.Name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(e.ctx, c.Timeout)
	defer cancel()
	return inspect.Recover(ctx, c.Name, e.opts(), c.Path)
}
