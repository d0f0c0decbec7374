//go:build linux

package main

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/queue"
)

// roundTrips are the cases in which 8 bytes go to the other process and come back.
func roundTrips() (all []bench) {
	const group = "round trip"
	for _, k := range []struct {
		name         string
		n            int
		single, spin bool
	}{
		{"queue, Single", 20_000, true, false},
		{"queue, Single, TryRecv in a loop", 100_000, true, true},
		{"queue", 20_000, false, false},
		{"queue, TryRecv in a loop", 100_000, false, true},
	} {
		all = append(all, bench{group: group, name: k.name, n: k.n,
			here:  &queueTrip{here: true, single: k.single, spin: k.spin},
			there: &queueTrip{single: k.single, spin: k.spin}})
	}
	return append(all,
		bench{group: group, name: "bare futex ping-pong", n: 20_000,
			here: &wordTrip{here: true}, there: &wordTrip{}},
		bench{group: group, name: "bare cache line bounce", n: 200_000,
			here: &wordTrip{here: true, spin: true}, there: &wordTrip{spin: true}},
		bench{group: group, name: "bare rings, spinning", n: 100_000,
			here: &ringTrip{here: true}, there: &ringTrip{}},
		bench{group: group, name: "Unix socket", n: 20_000,
			here: &socketTrip{here: true}, there: &socketTrip{}},
	)
}

// queueTrip has one queue for each direction.
type queueTrip struct {
	here, single, spin bool
	out, in            *queue.Queue[small]
	s                  *queue.Sender[small]
	r                  *queue.Receiver[small]
}

func (x *queueTrip) open() {
	x.out, x.in = openQueue[small](x.here, x.single, "a"), openQueue[small](x.here, x.single, "b")
	if !x.here {
		x.out, x.in = x.in, x.out
	}
}

func (x *queueTrip) close() {
	x.out.Close()
	x.in.Close()
}

func (x *queueTrip) run(n int) {
	var err error
	x.s, err = x.out.Sender()
	must(err)
	x.r, err = x.in.Receiver()
	must(err)
	for range n {
		if x.here {
			must(x.s.Send(ctx, small{}))
			x.recv()
		} else {
			must(x.s.Send(ctx, x.recv()))
		}
	}
}

func (x *queueTrip) recv() small {
	if !x.spin {
		v, err := x.r.Recv(ctx)
		must(err)
		return v
	}
	for {
		if v, err := x.r.TryRecv(); err == nil {
			return v
		}
	}
}

// wordTrip has one word for each direction, in cache lines of their own.
type wordTrip struct {
	here, spin  bool
	seg         *shmem.Segment
	mine, other *atomic.Uint32
}

func (x *wordTrip) open() {
	var err error
	if x.here {
		x.seg, err = shmem.CreateSegment(*base+"words", 4096, nil)
	} else {
		x.seg, err = shmem.AttachSegment(*base+"words", nil)
	}
	must(err)
	w, err := mem.SliceAt[atomic.Uint32](segment.Shmem.Attachment(x.seg).Mapping(), 0, 256)
	must(err)
	x.mine, x.other = &w[0], &w[64]
	if !x.here {
		x.mine, x.other = x.other, x.mine
	}
}

func (x *wordTrip) close() { x.seg.Close() }

func (x *wordTrip) run(n int) {
	for i := range uint32(n) {
		if x.here {
			x.send(i + 1)
		}
		for x.other.Load() != i+1 {
			if !x.spin {
				mem.FutexWait(x.other, i, time.Second)
			}
		}
		if !x.here {
			x.send(i + 1)
		}
	}
}

func (x *wordTrip) send(v uint32) {
	x.mine.Store(v)
	if !x.spin {
		mem.FutexWake(x.mine)
	}
}

// ringTrip has a bare ring for each direction: a message lies beside the index that publishes it.
type ringTrip struct {
	here    bool
	out, in bareRing[small]
	s       *ring.Sender
	r       *ring.Receiver
}

func (x *ringTrip) open() {
	x.out.openRing(x.here, "out")
	x.in.openRing(x.here, "in")
	if !x.here {
		x.out, x.in = x.in, x.out
	}
	var err error
	x.s, err = x.out.ring.Sender(1, noneAlive)
	must(err)
	x.r, err = x.in.ring.Receiver(1, noneAlive)
	must(err)
}

func (x *ringTrip) close() {
	x.out.close()
	x.in.close()
}

func (x *ringTrip) run(n int) {
	for range n {
		if x.here {
			x.send(small{})
			x.recv()
		} else {
			x.send(x.recv())
		}
	}
}

func (x *ringTrip) send(v small) {
	i, ok := x.s.Next()
	for ; !ok; i, ok = x.s.Next() {
		_, _, _ = x.s.Reserve(1)
	}
	x.out.items[i] = v
	x.s.PublishNext()
}

func (x *ringTrip) recv() small {
	i, ok := x.r.Next()
	for ; !ok; i, ok = x.r.Next() {
	}
	v := x.in.items[i]
	x.r.ReleaseNext()
	return v
}

// socketTrip has a Unix socket.
type socketTrip struct {
	here bool
	c    io.ReadWriteCloser
}

func (x *socketTrip) open() {
	if x.here {
		x.c = makeConduit(true)
	} else {
		x.c = inheritedConduit(true)
	}
}

func (x *socketTrip) close() { x.c.Close() }

func (x *socketTrip) run(n int) {
	b := make([]byte, 8)
	for range n {
		if x.here {
			x.write(b)
		}
		_, err := io.ReadFull(x.c, b)
		must(err)
		if !x.here {
			x.write(b)
		}
	}
}

func (x *socketTrip) write(b []byte) {
	_, err := x.c.Write(b)
	must(err)
}
