package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// interrupted is done when the user has had enough. Who has had enough twice ends the program at once.
func interrupted() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx
}

// endsReading ends the program, a moment after the user has had enough, until stop is called: reading cannot be
// interrupted. What is in hand then is passed over, as that of any process that dies.
func (e *env) endsReading() (stop func() bool) {
	return context.AfterFunc(e.ctx, func() {
		time.Sleep(100 * time.Millisecond)
		os.Exit(130)
	})
}
