//go:build !linux && !darwin && !windows

package sys

func Room() (Memory, bool)      { return Memory{}, false }
func RoomOf(int) (Memory, bool) { return Memory{}, false }
