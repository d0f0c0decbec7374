//go:build windows

package sys

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// A memoryStatus is a MEMORYSTATUSEX.
type memoryStatus struct {
	length, load                 uint32
	totalPhys, availPhys         uint64
	totalPageFile, availPageFile uint64
	totalVirtual, availVirtual   uint64
	availExtendedVirtual         uint64
}

var globalMemoryStatus = windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")

func Room() (Memory, bool) {
	s := memoryStatus{length: uint32(unsafe.Sizeof(memoryStatus{}))}
	ok, _, _ := globalMemoryStatus.Call(uintptr(unsafe.Pointer(&s)))
	return Memory{Limit: int64(s.totalPhys), Free: int64(s.availPhys)}, ok != 0
}

func RoomOf(int) (Memory, bool) { return Room() }
