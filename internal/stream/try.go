package stream

import (
	"context"
	"time"

	"github.com/shmembox/shmem/internal/errs"
)

// Context is ctx.Err, and the error of a nil context.
func Context(ctx context.Context) error { return errs.Context(ctx) }

// Try is the context of a call that does not block: one that would is told so by Tries before it
// waits. A nil context is a caller's mistake, see Context.
type Try struct{}

var _ context.Context = Try{}

// Tries reports whether a call with that context does not block.
func Tries(ctx context.Context) bool {
	_, ok := ctx.(Try)
	return ok
}

// Deadline returns no deadline.
func (Try) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done returns nil.
func (Try) Done() <-chan struct{} { return nil }

// Err returns context.DeadlineExceeded.
func (Try) Err() error { return context.DeadlineExceeded }

// Value returns nil.
func (Try) Value(any) any { return nil }
