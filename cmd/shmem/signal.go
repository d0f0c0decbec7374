package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// An errSignal is the cause of a context that a signal ended.
type errSignal struct{ syscall.Signal }

func (s errSignal) Error() string { return s.Signal.String() }

// code is the exit code of a program that the signal ended, as shells have it.
func (s errSignal) code() int { return 128 + int(s.Signal) }

// interrupted returns a context that is done after the first of endSignals: the command ends what
// it is doing. A second one ends the program at once.
func interrupted() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, endSignals()...)
	go func() {
		first := errSignal{(<-signals).(syscall.Signal)}
		cancel(first)
		<-signals
		signal.Reset()
		exitNow(first.code())
	}()
	return ctx
}

// exitNow gives the terminal back and exits. A terminal that is stopped (Ctrl-S) does not take what
// is written to it, so it gets 100 ms.
func exitNow(code int) {
	left := make(chan struct{})
	go func() { leaveScreen(); close(left) }()
	select {
	case <-left:
	case <-time.After(100 * time.Millisecond):
	}
	os.Exit(code)
}

// signalled returns the error of the signal that ended e.ctx: the program exits as if the signal
// had killed it. It returns nil if there was none.
func (e *env) signalled() error {
	var s errSignal
	if errors.As(context.Cause(e.ctx), &s) {
		return exitError(s.code())
	}
	return nil
}

// unlessInterrupted is signalled for a command that Ctrl-C ends as it is meant to end.
func (e *env) unlessInterrupted() error {
	var s errSignal
	if errors.As(context.Cause(e.ctx), &s) && s.Signal == syscall.SIGINT {
		return nil
	}
	return e.signalled()
}

// endsReading lets a signal end the program while it reads its input, which cannot be interrupted:
// 100 ms after the signal it calls last and exits. A message that is being written at that moment
// is skipped, as that of any process that dies. stop ends it.
func (e *env) endsReading(last func()) (stop func() bool) {
	return context.AfterFunc(e.ctx, func() {
		time.Sleep(100 * time.Millisecond)
		last()
		var exit exitError
		errors.As(e.signalled(), &exit)
		os.Exit(int(exit))
	})
}
