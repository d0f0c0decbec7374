//go:build linux

package main

import (
	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/segment"
)

// bareBytes are the limits of messages of size bytes: a ring of bytes with nothing around it. In
// place, one byte of a message is touched on each side. Copied, all of it is copied in on one core
// and out on the other.
func bareBytes(group string, size, n int) (all []bench) {
	for _, k := range []struct {
		name    string
		inPlace bool
	}{
		{"bare ring, spinning, copied", false},
		{"bare ring, spinning, in place", true},
	} {
		m := n
		if k.inPlace {
			m = max(n, 100_000)
		}
		all = append(all, bench{group: group, name: k.name, n: m, bytes: size,
			here:  &bareBytesSender{bareBytesRing{size: size}, k.inPlace},
			there: &bareBytesReceiver{bareBytesRing{size: size}, k.inPlace}})
	}
	return all
}

// bareBytesRing has as many bytes as bytesQueue. The side here creates it.
type bareBytesRing struct {
	size int
	seg  *shmem.Segment
	ring *ring.SPSCBytes
}

func (x *bareBytesRing) close() { x.seg.Close() }

func (x *bareBytesRing) openRing(here bool) {
	const dataAt = 1024
	n := max(1<<20, 16*x.size)
	var err error
	if here {
		x.seg, err = shmem.CreateSegment(*base+"bare", dataAt+n, nil)
	} else {
		x.seg, err = shmem.AttachSegment(*base+"bare", nil)
	}
	must(err)
	m := segment.Shmem.Attachment(x.seg).Mapping()
	h, err := mem.At[ring.SPSCHeader](m, 0)
	must(err)
	data, err := mem.SliceAt[byte](m, dataAt, n)
	must(err)
	x.ring, err = ring.NewSPSCBytes(h, data)
	must(err)
}

type bareBytesSender struct {
	bareBytesRing
	inPlace bool
}

func (x *bareBytesSender) open() { x.openRing(true) }

func (x *bareBytesSender) run(n int) {
	s, err := x.ring.Sender(1, noneAlive)
	must(err)
	p := make([]byte, x.size)
	for i := 0; i < n; {
		b, err := s.Reserve(x.size)
		if err != nil {
			continue
		}
		if x.inPlace {
			b[0]++
		} else {
			mem.Copy(b, p)
		}
		s.Commit(x.size)
		s.Publish()
		i++
	}
}

type bareBytesReceiver struct {
	bareBytesRing
	inPlace bool
}

func (x *bareBytesReceiver) open() { x.openRing(false) }

func (x *bareBytesReceiver) run(n int) {
	r, err := x.ring.Receiver(1, noneAlive)
	must(err)
	p := make([]byte, x.size)
	sum := byte(0)
	for i := 0; i < n; {
		b, err := r.Next()
		if err != nil {
			continue
		}
		if x.inPlace {
			sum += b[0]
		} else {
			mem.Copy(p, b)
		}
		r.Release()
		i++
	}
}
