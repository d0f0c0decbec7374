//go:build windows

package sys

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Where every process finds the page of the system that Go's monotonic clock reads, and what is in
// it: KUSER_SHARED_DATA.
const (
	sharedData    = 0x7ffe0000
	interruptTime = sharedData + 0x8 // 100 ns; the low word, the high word, and that once more
	bootID        = sharedData + 0x2c4
)

func sharedWord(at uintptr) uint32 { return atomic.LoadUint32((*uint32)(pointer(at))) }

// sinceBoot reads the clock that Go's monotonic readings count by.
func sinceBoot() time.Duration {
	for {
		high := sharedWord(interruptTime + 4)
		low := sharedWord(interruptTime)
		if sharedWord(interruptTime+8) == high {
			return time.Duration(uint64(high)<<32|uint64(low)) * 100
		}
	}
}

// newClock reads both clocks between two steps of theirs.
func newClock() clock {
	for {
		before := sinceBoot()
		c := clock{at: time.Now(), uptime: sinceBoot()}
		if c.uptime == before {
			c.boot = boot()
			return c
		}
	}
}

// boot returns a number of this start of the machine. Wine has none, but a time of its start, which
// changes when the date of a machine is set.
func boot() uint64 {
	if id := sharedWord(bootID); id != 0 {
		return uint64(id)<<1 | 1
	}
	var t [6]int64 // SYSTEM_TIMEOFDAY_INFORMATION, which begins with that time
	err := windows.NtQuerySystemInformation(windows.SystemTimeOfDayInformation,
		unsafe.Pointer(&t), uint32(unsafe.Sizeof(t)), nil)
	if err != nil || t[0] == 0 {
		return 0
	}
	return uint64(t[0]) | 1
}

var (
	queryCounter = windows.NewLazySystemDLL("kernel32.dll").NewProc("QueryPerformanceCounter")

	tickFrequency = func() int64 {
		var f int64
		proc := windows.NewLazySystemDLL("kernel32.dll").NewProc("QueryPerformanceFrequency")
		_, _, _ = proc.Call(uintptr(unsafe.Pointer(&f)))
		return max(f, 1)
	}()
)

// Ticks returns a time that goes on in small steps: those of Go's clock have up to 16 ms here, too
// long to end a spin.
func Ticks() time.Duration {
	var n int64
	_, _, _ = queryCounter.Call(uintptr(unsafe.Pointer(&n)))
	s, rest := n/tickFrequency, n%tickFrequency
	return time.Duration(s)*time.Second + time.Duration(rest*int64(time.Second)/tickFrequency)
}
