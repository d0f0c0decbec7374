//go:build linux && (amd64 || arm64)

// Package context stands in for context.
package context

import (
	"context"
	"time"

	"github.com/shmembox/shmem/tests/replay/world"
)

// A Context is context.Context.
type Context = context.Context

// These are those of package context.
var (
	Canceled         = context.Canceled
	DeadlineExceeded = context.DeadlineExceeded
	Background       = context.Background
	Cause            = context.Cause
	WithoutCancel    = context.WithoutCancel
	WithValue        = context.WithValue
)

// A CancelFunc is context.CancelFunc.
type CancelFunc = context.CancelFunc

// WithTimeout is context.WithTimeout.
func WithTimeout(parent Context, d time.Duration) (Context, CancelFunc) {
	return world.WithTimeout(parent, d)
}

// WithDeadline is context.WithDeadline.
func WithDeadline(parent Context, t time.Time) (Context, CancelFunc) {
	return world.WithTimeout(parent, t.Sub(world.Now()))
}

// WithCancel is context.WithCancel.
func WithCancel(parent Context) (Context, CancelFunc) { return world.WithCancel(parent) }

// AfterFunc is context.AfterFunc.
func AfterFunc(ctx Context, f func()) func() bool { return world.AfterFunc(ctx, f) }
