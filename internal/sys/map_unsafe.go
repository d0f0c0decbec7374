package sys

import "unsafe"

// The functions of mapped memory.
var (
	// Reserve takes n bytes of address space. An access to it faults. With a non-nil hint the space
	// begins at the hint if that is free, else anywhere; with exact Reserve fails instead.
	_ func(hint unsafe.Pointer, n uintptr, exact bool) (unsafe.Pointer, error) = Reserve

	// Map maps n bytes of the file from off. With a non-nil addr the mapping begins there and
	// replaces what is mapped there.
	_ func(addr unsafe.Pointer, n uintptr, fd FD, off int64, write bool) (unsafe.Pointer,
		error) = Map

	// Retire replaces a mapping by address space that faults, or with zeros reads as zero, if
	// RetiresToZeros. So a stale pointer into the mapping never leads to other memory.
	_ func(addr unsafe.Pointer, n uintptr, zeros bool) error = Retire

	// ProtectRead makes mapped pages read-only.
	_ func(addr unsafe.Pointer, n uintptr) error = ProtectRead

	// Populate makes the pages present, so that the first access costs no page fault. It reports
	// false where the system cannot be asked for that.
	_ func(addr unsafe.Pointer, n uintptr, write bool) bool = Populate

	// HugePages asks for huge pages, and makes them of pages that are there: a file whose memory
	// was reserved has small ones. The system decides whether there are any.
	_ func(addr unsafe.Pointer, n uintptr) = HugePages
)
