package sys

import (
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The kernel lets only the owner set O_NOATIME.
func (fd FD) Owned() bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return false
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_NOATIME); err != nil {
		return false
	}
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags)
	return true
}

func OverflowUID() uint32 { return overflowUID() }

func OverflowGID() uint32 { return overflowGID() }

var (
	overflowUID = sync.OnceValue(func() uint32 { return overflow("uid") })
	overflowGID = sync.OnceValue(func() uint32 { return overflow("gid") })
)

func overflow(kind string) uint32 {
	b, err := os.ReadFile("/proc/sys/kernel/overflow" + kind)
	if err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32); err == nil {
			return uint32(n)
		}
	}
	return 65534 // the default of Linux
}

func PIDNamespace() uint64 {
	var s unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &s); err != nil {
		return 0
	}
	return s.Ino
}
