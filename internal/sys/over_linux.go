//go:build race && (amd64 || arm64)

package sys

import "golang.org/x/sys/unix"

// These map over memory of the Go heap, in race builds only. They take the address as a number:
// the pointer form converts the kernel's answer back, which the checks of race builds refuse.

func over(addr, n uintptr, prot, flags int, fd FD, off int64) error {
	_, _, e := unix.Syscall6(unix.SYS_MMAP, addr, n, uintptr(prot), uintptr(flags|unix.MAP_FIXED), uintptr(fd), uintptr(off))
	if e != 0 {
		return e
	}
	return nil
}

// MapOver maps the file over heap memory.
func MapOver(addr, n uintptr, fd FD, off int64, write bool) error {
	prot := unix.PROT_READ
	if write {
		prot |= unix.PROT_WRITE
	}
	return over(addr, n, prot, unix.MAP_SHARED, fd, off)
}

// RetireOver makes heap memory fault when touched.
func RetireOver(addr, n uintptr) error {
	return over(addr, n, unix.PROT_NONE, reserveFlags, NoFD, 0)
}

// RestoreOver makes it ordinary zero memory again, for the heap to reuse.
func RestoreOver(addr, n uintptr) error {
	return over(addr, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON, NoFD, 0)
}
