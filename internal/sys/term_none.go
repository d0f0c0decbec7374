//go:build !linux

package sys

import "errors"

// TerminalSize returns the size of the terminal that fd is open on; ok reports whether there is
// one.
func TerminalSize(uintptr) (columns, rows int, ok bool) { return 0, 0, false }

// KeyInput is not supported on this system.
func KeyInput(uintptr) (restore func(), err error) { return nil, errors.ErrUnsupported }

// Stop is not supported on this system.
func Stop() bool { return false }

// Foreground is not supported on this system.
func Foreground(uintptr) bool { return true }
