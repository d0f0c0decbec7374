//go:build !linux

package sys

import "errors"

// RegisterBarrier makes Barrier of every process reach this one.
func RegisterBarrier() error { return errors.ErrUnsupported }

// Barrier is a full memory barrier in every running thread of every process that has called
// RegisterBarrier.
func Barrier() error { return errors.ErrUnsupported }
