//go:build linux && !portable

package sys

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// HasFutex: a doorbell is a futex word, see bell.go.
const HasFutex = true

const (
	futexWait = 0 // without FUTEX_PRIVATE_FLAG: the waker may be another process
	futexWake = 1
)

// FutexWait sleeps while *addr is val, at most for d. It can return too early, so the caller checks
// the value again.
func FutexWait(addr *uint32, val uint32, d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	// Syscall, not RawSyscall: Go's scheduler must know that this thread sleeps.
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWait, uintptr(val),
		uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// FutexWake wakes up to n sleepers on addr.
func FutexWake(addr *uint32, n int) {
	// RawSyscall6: the call does not block. Syscall6 would wake Go's monitor thread, which then
	// looks again and again for some milliseconds.
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWake, uintptr(n),
		0, 0, 0)
}

// MaxFutexes is how many words FutexWaitAny takes.
const MaxFutexes = 128

// A Futex is a word to sleep on, and its value: struct futex_waitv of Linux.
type Futex struct {
	val, addr       uint64
	flags, reserved uint32
}

// futexSize32 says that a Futex is a word of 32 bits, and shared between processes.
const futexSize32 = 2

// NewFutex returns a Futex. The word must not be on a stack.
func NewFutex(addr *uint32, val uint32) Futex {
	return Futex{val: uint64(val), addr: uint64(uintptr(unsafe.Pointer(addr))), flags: futexSize32}
}

// FutexWaitAny sleeps until one of the words is woken, or differs from its value. It can return too
// early. It returns the index of the word that was woken; -1: it is not known. The error says that
// it cannot sleep, such as EFAULT for a word that is not there.
func FutexWaitAny(list []Futex) (int, error) {
	i, _, e := unix.Syscall6(unix.SYS_FUTEX_WAITV, uintptr(unsafe.Pointer(unsafe.SliceData(list))),
		uintptr(len(list)), 0, 0, 0, 0)
	switch e {
	case 0:
		return int(i), nil
	case unix.EAGAIN, unix.EINTR:
		return -1, nil
	}
	return -1, e
}

// HaveFutexWaitAny reports whether the kernel has the call (Linux 5.16), and allows it.
func HaveFutexWaitAny() bool {
	_, _, e := unix.Syscall6(unix.SYS_FUTEX_WAITV, 0, 0, 0, 0, 0, 0)
	return e == unix.EINVAL // as for every empty list
}
