//go:build !linux

package sys

import (
	"errors"
	"time"
	"unsafe"
)

func Reserve(unsafe.Pointer, uintptr, bool) (unsafe.Pointer, error) {
	return nil, errors.ErrUnsupported
}
func Map(unsafe.Pointer, uintptr, FD, int64, bool) (unsafe.Pointer, error) {
	return nil, errors.ErrUnsupported
}
func Retire(unsafe.Pointer, uintptr) error      { return errors.ErrUnsupported }
func ProtectRead(unsafe.Pointer, uintptr) error { return errors.ErrUnsupported }
func Populate(unsafe.Pointer, uintptr, bool)    {}
func HugePages(unsafe.Pointer, uintptr)         {}
func FutexWait(*uint32, uint32, time.Duration)  {}
func FutexWake(*uint32, int)                    {}

const MaxFutexes = 128

type Futex struct{}

func NewFutex(*uint32, uint32) Futex { return Futex{} }
func FutexWaitAny([]Futex) error     { return errors.ErrUnsupported }
func HaveFutexWaitAny() bool         { return false }
