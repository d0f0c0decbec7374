package sys

import "golang.org/x/sys/unix"

// Room knows how much memory the machine has, not how much of it is free.
func Room() (Memory, bool) {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return Memory{}, false
	}
	return Memory{Limit: int64(n), Free: int64(n)}, true
}

func RoomOf(int) (Memory, bool) { return Room() }
