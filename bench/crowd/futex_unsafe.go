//go:build linux

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// words are those of a page.
type words [1024]atomic.Uint32

// mapWords maps a page of a file.
func mapWords(dir, name string) (*words, error) {
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
	return (*words)(unsafe.Pointer(&b[0])), nil
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

// futexSleep sleeps while the word is old, at most for d.
func futexSleep(w *atomic.Uint32, old uint32, d time.Duration) unix.Errno {
	t := unix.NsecToTimespec(int64(d))
	_, _, e := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), 0, uintptr(old),
		uintptr(unsafe.Pointer(&t)), 0, 0)
	return e
}

// maxList is how many words waitForAny takes: one less than the kernel does.
const maxList = 127

// A listed is an element of the list of futex_waitv.
type listed struct {
	val, addr       uint64
	flags, reserved uint32
}

// waitForAny waits until the first word of one of the pages changes, and calls f with its number,
// again and again.
func waitForAny(pages []*words, f func(k int)) {
	const size32 = 2
	list := make([]listed, len(pages))
	for k, w := range pages {
		list[k] = listed{uint64(w[0].Load()), uint64(uintptr(unsafe.Pointer(&w[0]))), size32, 0}
	}
	look := func(k int) {
		if now := uint64(pages[k][0].Load()); now != list[k].val {
			list[k].val = now
			f(k)
		}
	}
	for {
		k, _, e := unix.Syscall6(unix.SYS_FUTEX_WAITV, uintptr(unsafe.Pointer(&list[0])),
			uintptr(len(list)), 0, 0, 0, 0)
		if e == 0 {
			look(int(k))
			continue
		}
		for k := range list { // one has changed before the thread slept
			look(k)
		}
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
		futexSleep(m.w, 2, 100*time.Millisecond)
	}
}

func (m futexMutex) Unlock() {
	if m.w.Swap(0) == 2 {
		futexWake(m.w)
	}
}

// A fairMutex is the least lock of a Go program that keeps the promises of psync.Mutex: a waiter
// gets it in its turn, and it survives a killed holder and a killed waiter, for which it looks
// every 100 ms. The word is the pid of the owner, with the bit waiting; that bit alone is left to
// the waiter that was woken.
type fairMutex struct {
	w      *atomic.Uint32
	yields bool // it lets other goroutines run before it sleeps
}

const waiting = 1 << 31

func (m fairMutex) Lock() {
	me := uint32(os.Getpid())
	for mayTake := false; ; {
		w := m.w.Load()
		switch {
		case w == 0:
			if m.w.CompareAndSwap(0, me) {
				return
			}
		case w == waiting && mayTake:
			if m.w.CompareAndSwap(w, me|waiting) {
				return
			}
		case w&waiting == 0:
			m.w.CompareAndSwap(w, w|waiting)
		default:
			switch m.sleep(w) {
			case 0:
				mayTake = true
			case unix.ETIMEDOUT:
				mayTake = true // the one that was woken has died
				dead := w != waiting && unix.Kill(int(w&^waiting), 0) == unix.ESRCH
				if dead && m.w.CompareAndSwap(w, me|waiting) {
					return
				}
			}
		}
	}
}

// sleep sleeps for a waiter. With yields Go's monitor thread leaves the thread its P for 10 ms, and
// looks some 60 times meanwhile: the goroutine has just begun to run. Else, by the monitor's books,
// it has run since its last long sleep, and the P is taken at once.
func (m fairMutex) sleep(w uint32) unix.Errno {
	if m.yields {
		runtime.Gosched()
	}
	return futexSleep(m.w, w, 100*time.Millisecond)
}

func (m fairMutex) Unlock() {
	if m.w.CompareAndSwap(uint32(os.Getpid()), 0) {
		return
	}
	m.w.Store(waiting)
	if futexWake(m.w) == 0 {
		m.w.CompareAndSwap(waiting, 0)
	}
}

// futexWake wakes one sleeper, and returns how many it has woken.
func futexWake(w *atomic.Uint32) int {
	n, _, _ := unix.RawSyscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), 1, 1)
	return int(n)
}
