//go:build !linux || portable

package sys

import "errors"

func RegisterBarrier() error { return errors.ErrUnsupported }
func Barrier() error         { return errors.ErrUnsupported }
