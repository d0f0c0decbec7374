//go:build !linux && !darwin

package sys

func Room() (Memory, bool)      { return Memory{}, false }
func RoomOf(int) (Memory, bool) { return Memory{}, false }
