package main

import (
	"context"
	"fmt"
	"time"

	"github.com/shmembox/shmem/inspect"
)

// recoverCmd recovers a value or a lock. The work is done by inspect.Recover.
type recoverCmd struct {
	Name    string        `arg:"" help:"The segment."`
	Path    string        `arg:"" optional:"" help:"A psync.Mutex or RWMutex in the value; none: the box's own lock."`
	Timeout time.Duration `default:"5s" help:"How long to wait for the lock (${default})."`
	Lease   *int          `placeholder:"SLOT" help:"Of a queue: end the leases of the attachment in this slot."`
}

func (*recoverCmd) Help() string {
	return `After a death, "shmem check" says which value or lock needs this. For the box's own lock
it does what the next Update would do: the change of the writer that died is undone. For a lock in
the value it declares that what the lock guards is in order; look at the value first (shmem cat). A
lock that no process died with stays as it is.

With --lease the messages that a process is receiving are redelivered to others, although it lives:
it is stopped, or does not go on. Stat shows slots and leases. When the process is done with such a
message it gets queue.ErrLeaseLost.`
}

func (c *recoverCmd) Run(e *env) error {
	if err := plainName(c.Name); err != nil {
		return err
	}
	if c.Lease != nil {
		n, err := inspect.EndLeases(c.Name, e.opts(), *c.Lease)
		if err == nil {
			_, err = fmt.Fprintf(e.out, "%s redelivered\n", plural(uint64(n), "message"))
		}
		return err
	}
	err := e.needsBox(c.Name, "recovers locks of boxes, and with --lease messages of queues")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(e.ctx, c.Timeout)
	defer cancel()
	return inspect.Recover(ctx, c.Name, e.opts(), c.Path)
}
