//go:build linux

package main

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapWords maps two words of a file, a cache line apart from others.
func mapWords(dir, name string) (*[2]atomic.Uint32, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		return nil, err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*[2]atomic.Uint32)(unsafe.Pointer(&b[0])), nil
}

// futexWait waits until the word is not old.
func futexWait(w *atomic.Uint32, old uint32) {
	for w.Load() == old {
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), 0, uintptr(old),
			0, 0, 0)
	}
}

func futexWake(w *atomic.Uint32) {
	_, _, _ = unix.Syscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), 1, 1)
}
