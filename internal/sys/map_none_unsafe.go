//go:build !linux && !darwin && !windows

package sys

import (
	"errors"
	"unsafe"
)

func Reserve(unsafe.Pointer, uintptr, bool) (unsafe.Pointer, error) {
	return nil, errors.ErrUnsupported
}
func Map(unsafe.Pointer, uintptr, FD, int64, bool) (unsafe.Pointer, error) {
	return nil, errors.ErrUnsupported
}

const RetiresToZeros = false

func Retire(unsafe.Pointer, uintptr, bool) error  { return errors.ErrUnsupported }
func ProtectRead(unsafe.Pointer, uintptr) error   { return errors.ErrUnsupported }
func Populate(unsafe.Pointer, uintptr, bool) bool { return false }
func HugePages(unsafe.Pointer, uintptr)           {}
