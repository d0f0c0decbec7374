//go:build linux && !portable

package sys

import (
	"errors"
	"time"
)

// A Bell is not needed: a doorbell is a futex word.
type Bell struct{}

func BellName(Stat, int, uint32) string    { return "" }
func OpenBell(string) (*Bell, error)       { return nil, errors.ErrUnsupported }
func (*Bell) Wait(time.Duration) (ok bool) { return false }
func (*Bell) Close()                       {}
func SweepBells()                          {}

// A Ringer is never made here.
type Ringer struct{}

func OpenRinger() (*Ringer, error) { return nil, errors.ErrUnsupported }
func (*Ringer) Ring(string)        {}
func (*Ringer) Close()             {}
