package stream

import (
	"encoding/binary"

	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
)

// RecordStamp returns the stamp of the record at head in a Single queue.Bytes with time stamps, 0
// if there is none. It counts only if the head is the same afterwards.
func RecordStamp(m *mem.Mapping, l *layout.Queue, head uint64) int64 {
	const (
		word   = 8
		unused = ^uint64(0) // in place of a length: the next record is at the beginning of the ring
	)
	load := func(pos uint64) uint64 {
		var b [word]byte
		m.LoadPart(b[:], l.Items+int(pos%uint64(l.Bytes)))
		return binary.NativeEndian.Uint64(b[:])
	}
	if head%word != 0 {
		return 0
	}
	size, room := load(head), uint64(l.Bytes)
	if size == unused {
		head += room - head%room
		size = load(head)
	}
	if rest := room - head%room; size < word || rest < word || size > rest-word {
		return 0
	}
	return int64(load(head + word))
}
