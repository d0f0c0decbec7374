//go:build linux || darwin

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const reserveFlags = unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE

func Reserve(hint unsafe.Pointer, n uintptr, exact bool) (unsafe.Pointer, error) {
	flags := reserveFlags
	if exact {
		flags |= fixedNoReplace
	}
	p, err := unix.MmapPtr(-1, 0, hint, n, unix.PROT_NONE, flags)
	if err == nil && exact && p != hint { // the system took it for a hint
		_ = unix.MunmapPtr(p, n)
		return nil, unix.EEXIST
	}
	return p, err
}

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

const RetiresToZeros = true

func Retire(addr unsafe.Pointer, n uintptr, zeros bool) error {
	prot := unix.PROT_NONE
	if zeros {
		prot = unix.PROT_READ
	}
	_, err := unix.MmapPtr(-1, 0, addr, n, prot, reserveFlags|unix.MAP_FIXED)
	return err
}

func ProtectRead(addr unsafe.Pointer, n uintptr) error {
	return unix.Mprotect(unsafe.Slice((*byte)(addr), n), unix.PROT_READ)
}
