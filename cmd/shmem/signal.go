package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interrupted is done when the user has had enough.
func interrupted() context.Context {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	return ctx
}
