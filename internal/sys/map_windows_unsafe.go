//go:build windows

package sys

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Windows cannot map a file into a part of address space that is reserved (its placeholders can,
// which came later and which Wine has not). So Reserve only looks whether the space is free, far
// from where the system and Go place memory by themselves. No mapping ever replaces other memory:
// Map fails where something else is.
//
// Between two calls of Retire, or of Map, the addresses are free for a moment. A thread that maps
// other memory just there, which needs to ask for that address, could be seen through a stale
// pointer. Nothing in Go, in the system or in this library asks for it.

// errTaken is returned where other memory is at an address.
var errTaken = windows.ERROR_INVALID_ADDRESS

func pointer(a uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&a)) }

func Reserve(hint unsafe.Pointer, n uintptr, exact bool) (unsafe.Pointer, error) {
	if !Supported {
		return nil, errors.ErrUnsupported
	}
	a, err := windows.VirtualAlloc(uintptr(hint), n, windows.MEM_RESERVE, windows.PAGE_NOACCESS)
	if a == 0 {
		return nil, err
	}
	if err := windows.VirtualFree(a, 0, windows.MEM_RELEASE); err != nil {
		return nil, err
	}
	if exact && a != uintptr(hint) {
		return nil, errTaken
	}
	return pointer(a), nil
}

var mapViewOfFileEx = windows.NewLazySystemDLL("kernel32.dll").NewProc("MapViewOfFileEx")

func Map(addr unsafe.Pointer, n uintptr, fd FD, off int64, write bool) (unsafe.Pointer, error) {
	prot, access := uint32(windows.PAGE_READONLY), uint32(windows.FILE_MAP_READ)
	if write {
		prot, access = windows.PAGE_READWRITE, windows.FILE_MAP_READ|windows.FILE_MAP_WRITE
	}
	section, err := windows.CreateFileMapping(windows.Handle(fd), nil, prot, 0, 0, nil)
	if section == 0 {
		return nil, err
	}
	defer func() { _ = windows.CloseHandle(section) }()
	// A view ends with a page, but it cannot be asked for beyond the end of the file.
	if st, err := fd.Stat(); err == nil && st.Size > off {
		n = min(n, uintptr(st.Size-off))
	}
	retired := addr != nil && windows.VirtualFree(uintptr(addr), 0, windows.MEM_RELEASE) == nil
	a, _, err := mapViewOfFileEx.Call(uintptr(section), uintptr(access), uintptr(off>>32),
		uintptr(uint32(off)), n, uintptr(addr))
	if a != 0 {
		return pointer(a), nil
	}
	if retired {
		_ = occupy(uintptr(addr), n)
	}
	return nil, err
}

// occupy takes address space that faults.
func occupy(addr, n uintptr) error {
	_, err := windows.VirtualAlloc(addr, n, windows.MEM_RESERVE, windows.PAGE_NOACCESS)
	return err
}

// RetiresToZeros: a view is unmapped before its addresses are occupied.
const RetiresToZeros = false

// Retire returns an error for space that is no view: it faults already.
func Retire(addr unsafe.Pointer, n uintptr, _ bool) error {
	if err := windows.UnmapViewOfFile(uintptr(addr)); err != nil {
		return err
	}
	return occupy(uintptr(addr), n)
}

func ProtectRead(addr unsafe.Pointer, n uintptr) error {
	var old uint32
	return windows.VirtualProtect(uintptr(addr), n, windows.PAGE_READONLY, &old)
}

func Populate(unsafe.Pointer, uintptr, bool) bool { return false }

func HugePages(unsafe.Pointer, uintptr) {}
