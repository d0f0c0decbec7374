//go:build race && (amd64 || arm64)

package sys

import "golang.org/x/sys/unix"

// The functions of this file map over memory of the Go heap, in race builds only. They take the
// address as a number: x/sys would convert the kernel's result to a pointer, which race builds
// refuse.

func over(addr, n uintptr, prot, flags int, fd FD, off int64) error {
	_, _, e := unix.Syscall6(unix.SYS_MMAP, addr, n, uintptr(prot), uintptr(flags|unix.MAP_FIXED),
		uintptr(fd), uintptr(off))
	if e != 0 {
		return e
	}
	return nil
}

// MapOver maps n bytes of the file from off over heap memory.
func MapOver(addr, n uintptr, fd FD, off int64, write bool) error {
	prot := unix.PROT_READ
	if write {
		prot |= unix.PROT_WRITE
	}
	return over(addr, n, prot, unix.MAP_SHARED, fd, off)
}

// RetireOver makes accesses to heap memory fault.
func RetireOver(addr, n uintptr) error {
	return over(addr, n, unix.PROT_NONE, reserveFlags, NoFD, 0)
}

// RestoreOver makes it ordinary memory again, all zero, which the heap can reuse.
func RestoreOver(addr, n uintptr) error {
	return over(addr, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON, NoFD, 0)
}
