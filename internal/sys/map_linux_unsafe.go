//go:build linux && !portable

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kernels before 4.17 take it for a hint.
const fixedNoReplace = unix.MAP_FIXED_NOREPLACE

// Populate: kernels before 5.14 ignore it.
func Populate(addr unsafe.Pointer, n uintptr, write bool) bool {
	advice := unix.MADV_POPULATE_READ
	if write {
		advice = unix.MADV_POPULATE_WRITE
	}
	_ = unix.Madvise(unsafe.Slice((*byte)(addr), n), advice)
	return true
}

// HugePages: kernels before 6.1 change nothing that is there.
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
