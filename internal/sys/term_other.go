//go:build !linux

package sys

import "errors"

// TerminalSize is the size of the terminal that fd is open on; ok is false where there is none.
func TerminalSize(uintptr) (columns, rows int, ok bool) { return 0, 0, false }

// KeyInput is not there: keys are not looked at.
func KeyInput(uintptr) (restore func(), err error) { return nil, errors.ErrUnsupported }
