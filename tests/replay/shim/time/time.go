//go:build linux && (amd64 || arm64)

// Package time stands in for time.
package time

import (
	"time"

	"github.com/shmembox/shmem/tests/replay/world"
)

// These are those of package time.
type (
	Duration = time.Duration
	Time     = time.Time
)

// These are those of package time.
const (
	Nanosecond  = time.Nanosecond
	Microsecond = time.Microsecond
	Millisecond = time.Millisecond
	Second      = time.Second
	Minute      = time.Minute
	Hour        = time.Hour
)

// These are those of package time.
var (
	Unix          = time.Unix
	ParseDuration = time.ParseDuration
)

// Now is the simulated time.
func Now() Time { return world.Now() }

// Since and Until are those of package time.
func Since(t Time) Duration { return world.Now().Sub(t) }
func Until(t Time) Duration { return t.Sub(world.Now()) }

// Sleep is time.Sleep.
func Sleep(d Duration) { world.Sleep(d) }

// A Timer is time.Timer.
type Timer struct {
	C <-chan Time
	c chan Time
	t *world.Timer
}

// NewTimer is time.NewTimer.
func NewTimer(d Duration) *Timer {
	c := make(chan Time, 1)
	t := &Timer{C: c, c: c}
	t.t = world.NewTimer(d, func() {
		select {
		case c <- world.Now():
			world.Wake(world.ChannelKey(t.C), 0)
		default:
		}
	})
	return t
}

// AfterFunc is time.AfterFunc, for an f that ends at once.
func AfterFunc(d Duration, f func()) *Timer { return &Timer{t: world.NewTimer(d, f)} }

func (t *Timer) drain() {
	select {
	case <-t.c:
	default:
	}
}

// Reset starts the timer anew.
func (t *Timer) Reset(d Duration) bool {
	world.Local()
	t.drain()
	return t.t.Reset(d)
}

// Stop ends the timer.
func (t *Timer) Stop() bool {
	world.Local()
	t.drain()
	return t.t.Stop()
}

// After is time.After.
func After(d Duration) <-chan Time { return NewTimer(d).C }
