//go:build linux

package sys

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const reserveFlags = unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE

// Reserve takes n bytes of address space. An access to it faults. With a non-nil hint the space
// begins at the hint if that is free, else anywhere; with exact Reserve fails instead.
func Reserve(hint unsafe.Pointer, n uintptr, exact bool) (unsafe.Pointer, error) {
	flags := reserveFlags
	if exact {
		flags |= unix.MAP_FIXED_NOREPLACE
	}
	p, err := unix.MmapPtr(-1, 0, hint, n, unix.PROT_NONE, flags)
	if err == nil && exact && p != hint { // kernels before 4.17 do not know MAP_FIXED_NOREPLACE
		_ = unix.MunmapPtr(p, n)
		return nil, unix.EEXIST
	}
	return p, err
}

// Map maps n bytes of the file from off. With a non-nil addr the mapping begins there and replaces
// what is mapped there.
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

// Retire replaces a mapping by address space that faults. So a stale pointer into the mapping never
// leads to other memory.
func Retire(addr unsafe.Pointer, n uintptr) error {
	_, err := unix.MmapPtr(-1, 0, addr, n, unix.PROT_NONE, reserveFlags|unix.MAP_FIXED)
	return err
}

// ProtectRead makes mapped pages read-only.
func ProtectRead(addr unsafe.Pointer, n uintptr) error {
	return unix.Mprotect(unsafe.Slice((*byte)(addr), n), unix.PROT_READ)
}

// Populate makes the pages present, so that the first access costs no page fault. Kernels before
// 5.14 ignore it.
func Populate(addr unsafe.Pointer, n uintptr, write bool) {
	advice := unix.MADV_POPULATE_READ
	if write {
		advice = unix.MADV_POPULATE_WRITE
	}
	_ = unix.Madvise(unsafe.Slice((*byte)(addr), n), advice)
}

// HugePages asks for huge pages, and makes them of pages that are there: a file whose memory was
// reserved has small ones. The kernel decides whether there are any; before 6.1 it changes nothing
// that is there.
//
// A call for all of the memory ends at the first page that cannot be had. The kernel may find one
// for the next part, or for the same part later, when it has moved other memory.
func HugePages(addr unsafe.Pointer, n uintptr) {
	const (
		part  = 2 << 20 // the size of a huge page on most machines
		tries = 3
	)
	b := unsafe.Slice((*byte)(addr), n)
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	for range tries {
		missing := false
		for off := uintptr(0); off+part <= n; off += part {
			err := retry(func() error { return unix.Madvise(b[off:off+part], unix.MADV_COLLAPSE) })
			switch err {
			case nil:
			case unix.ENOMEM, unix.EAGAIN, unix.EBUSY:
				missing = true
			default:
				return // this kernel, or this file system, has none
			}
		}
		if !missing {
			return
		}
	}
}

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
// early. The error says that it cannot sleep, such as EFAULT for a word that is not there.
func FutexWaitAny(list []Futex) error {
	_, _, e := unix.Syscall6(unix.SYS_FUTEX_WAITV, uintptr(unsafe.Pointer(unsafe.SliceData(list))),
		uintptr(len(list)), 0, 0, 0, 0)
	if e == 0 || e == unix.EAGAIN || e == unix.EINTR {
		return nil
	}
	return e
}

// HaveFutexWaitAny reports whether the kernel has the call (Linux 5.16), and allows it.
func HaveFutexWaitAny() bool {
	_, _, e := unix.Syscall6(unix.SYS_FUTEX_WAITV, 0, 0, 0, 0, 0, 0)
	return e == unix.EINVAL // as for every empty list
}
