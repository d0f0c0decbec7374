//go:build !(darwin || windows || (linux && portable))

package sys

import (
	"errors"
	"time"
)

// MaxSpin is about what parking and waking a thread by a futex cost.
const MaxSpin = 20 * time.Microsecond

// BellTakesThread: see bell.go.
const BellTakesThread = false

// A Bell is never made here: on Linux a doorbell is a futex word.
type Bell struct{}

func BellName(Stat, int, uint32) string    { return "" }
func OpenBell(string) (*Bell, error)       { return nil, errors.ErrUnsupported }
func (*Bell) Wait(time.Duration) (ok bool) { return false }
func (*Bell) Close()                       {}

// A Ringer is never made here.
type Ringer struct{}

func OpenRinger() (*Ringer, error) { return nil, errors.ErrUnsupported }
func (*Ringer) Ring(string)        {}
func (*Ringer) Close()             {}
