//go:build !linux && !darwin

package sys

import (
	"errors"
	"time"
)

// MaxSpin is that of Linux.
const MaxSpin = 20 * time.Microsecond

// A Bell is never made on this system.
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
