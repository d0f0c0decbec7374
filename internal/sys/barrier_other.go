//go:build !linux

package sys

import "errors"

// RegisterBarrier lets Barrier of any process reach this one.
func RegisterBarrier() error { return errors.ErrUnsupported }

// Barrier is a full memory barrier in every running thread of every process that has registered.
func Barrier() error { return errors.ErrUnsupported }
