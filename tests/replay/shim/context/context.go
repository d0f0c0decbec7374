//go:build linux && (amd64 || arm64)

// Package context stands in for context.
package context

import (
	"context"

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
)

// AfterFunc is context.AfterFunc.
func AfterFunc(ctx Context, f func()) func() bool { return world.AfterFunc(ctx, f) }
