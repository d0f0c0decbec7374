//go:build linux

package sys

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const reserveFlags = unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE

// Reserve takes n bytes of address space that fault when touched. With a non-nil hint the space
// begins there if that is free, else anywhere; with exact it begins there or the call fails.
func Reserve(hint unsafe.Pointer, n uintptr, exact bool) (unsafe.Pointer, error) {
	flags := reserveFlags
	if exact {
		flags |= unix.MAP_FIXED_NOREPLACE
	}
	p, err := unix.MmapPtr(-1, 0, hint, n, unix.PROT_NONE, flags)
	if err == nil && exact && p != hint { // kernels before 4.17 take it for a mere hint
		_ = unix.MunmapPtr(p, n)
		return nil, unix.EEXIST
	}
	return p, err
}

// Map maps n bytes of the file from off. With a non-nil addr it replaces what is mapped there.
func Map(addr unsafe.Pointer, n uintptr, fd FD, off int64, write bool) (unsafe.Pointer, error) {
	prot, flags := unix.PROT_READ, unix.MAP_SHARED
	if write {
		prot |= unix.PROT_WRITE
	}
	if addr != nil {
		flags |= unix.MAP_FIXED
	}
	return unix.MmapPtr(int(fd), off, addr, n, prot, flags)
}

// Retire replaces a mapping by address space that faults when touched: a stale pointer into it
// can never read or write memory that belongs to something else.
func Retire(addr unsafe.Pointer, n uintptr) error {
	_, err := unix.MmapPtr(-1, 0, addr, n, unix.PROT_NONE, reserveFlags|unix.MAP_FIXED)
	return err
}

// ProtectRead makes mapped pages read-only.
func ProtectRead(addr unsafe.Pointer, n uintptr) error {
	return unix.Mprotect(unsafe.Slice((*byte)(addr), n), unix.PROT_READ)
}

// Populate makes the pages present, so that the first touch costs no fault. It is advice: a kernel
// that does not know it (before 5.14) does nothing.
func Populate(addr unsafe.Pointer, n uintptr, write bool) {
	advice := unix.MADV_POPULATE_READ
	if write {
		advice = unix.MADV_POPULATE_WRITE
	}
	_ = unix.Madvise(unsafe.Slice((*byte)(addr), n), advice)
}

// HugePages asks for huge pages, where the mount has them.
func HugePages(addr unsafe.Pointer, n uintptr) {
	_ = unix.Madvise(unsafe.Slice((*byte)(addr), n), unix.MADV_HUGEPAGE)
}

const (
	futexWait = 0 // not private: the waker is another process
	futexWake = 1
)

// FutexWait sleeps while *addr is val, at most for d. It returns for any reason: the caller looks again.
func FutexWait(addr *uint32, val uint32, d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	// Syscall, not RawSyscall: the scheduler must know that this thread sleeps.
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWait, uintptr(val), uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// FutexWake wakes at most n sleepers on addr.
func FutexWake(addr *uint32, n int) {
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWake, uintptr(n), 0, 0, 0)
}
