//go:build !linux || portable

package sys

import (
	"errors"
	"time"
)

// HasFutex: a doorbell is a Bell, see bell.go.
const HasFutex = false

// MaxFutexes is how many words FutexWaitAny takes.
const MaxFutexes = 128

// A Futex is a word to sleep on.
type Futex struct{}

// FutexWait looks once.
func FutexWait(addr *uint32, val uint32, d time.Duration) { time.Sleep(min(d, time.Millisecond)) }

// FutexWake does nothing: nothing sleeps on a word.
func FutexWake(*uint32, int) {}

// NewFutex returns a Futex.
func NewFutex(*uint32, uint32) Futex { return Futex{} }

// FutexWaitAny returns an error.
func FutexWaitAny([]Futex) (int, error) { return -1, errors.ErrUnsupported }

// HaveFutexWaitAny reports false.
func HaveFutexWaitAny() bool { return false }
