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

// futexWait waits until the word is not old. With timeout it looks every 100 ms, as a wait must
// that is to see a death.
func futexWait(w *atomic.Uint32, old uint32, timeout bool) {
	var t *unix.Timespec
	if timeout {
		t = &unix.Timespec{Nsec: 100_000_000}
	}
	for w.Load() == old {
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), 0, uintptr(old),
			uintptr(unsafe.Pointer(t)), 0, 0)
	}
}

// A futexMutex is the least lock of a Go program that sleeps: 0 is free, 1 held, 2 held with
// waiters (Drepper, Futexes Are Tricky). It knows no deaths, and looks every 100 ms.
type futexMutex struct{ w *atomic.Uint32 }

func (m futexMutex) Lock() {
	if m.w.CompareAndSwap(0, 1) {
		return
	}
	for m.w.Swap(2) != 0 {
		t := unix.Timespec{Nsec: 100_000_000}
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(m.w)), 0, 2,
			uintptr(unsafe.Pointer(&t)), 0, 0)
	}
}

func (m futexMutex) Unlock() {
	if m.w.Swap(0) == 2 {
		futexWake(m.w)
	}
}

func futexWake(w *atomic.Uint32) {
	_, _, _ = unix.Syscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), 1, 1)
}
