//go:build !linux

package sys

import "errors"

func CPUQuota() float64                    { return 0 }
func Huge(uintptr, uintptr) (int64, error) { return 0, errors.ErrUnsupported }
