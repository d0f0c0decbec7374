package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// errSignal is why the context is done.
type errSignal struct{ syscall.Signal }

func (s errSignal) Error() string { return s.Signal.String() }
func (s errSignal) code() int     { return 128 + int(s.Signal) }

// interrupted is done when the user has had enough. Who has had enough twice ends the program at once.
func interrupted() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := errSignal{(<-c).(syscall.Signal)}
		cancel(s)
		<-c
		signal.Reset()
		left := make(chan struct{})
		go func() { leaveScreen(); close(left) }()
		select {
		case <-left:
		case <-time.After(100 * time.Millisecond): // a terminal that was stopped takes no more
		}
		os.Exit(s.code())
	}()
	return ctx
}

// signalled is the error of the signal that came, nil if none did: the program exits as if it had died of it.
func (e *env) signalled() error {
	var s errSignal
	if errors.As(context.Cause(e.ctx), &s) {
		return exitError(s.code())
	}
	return nil
}

// endsReading ends the program, a moment after the user has had enough, until stop is called: reading cannot be
// interrupted. What is in hand then is passed over, as that of any process that dies. It calls last before.
func (e *env) endsReading(last func()) (stop func() bool) {
	return context.AfterFunc(e.ctx, func() {
		time.Sleep(100 * time.Millisecond)
		last()
		var exit exitError
		errors.As(e.signalled(), &exit)
		os.Exit(int(exit))
	})
}

// screenOff gives the terminal back, if it was taken.
var screenOff struct {
	sync.Mutex
	f func()
}

// leaveScreen gives the terminal back, once.
func leaveScreen() {
	screenOff.Lock()
	defer screenOff.Unlock()
	if screenOff.f != nil {
		screenOff.f()
		screenOff.f = nil
	}
}
