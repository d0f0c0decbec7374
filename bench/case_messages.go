package main

import (
	"fmt"
	"sync/atomic"
)

var transports = []transport{singleBytesPlace, manyBytesPlace, singleQueue, manyQueue, singleQueueSpin, manyQueueSpin,
	singleBytes, manyBytes, unixSocket, pipe, tcp, mqueue, channel, byHand, rawFutex}

// Roles of the other side of a transport.
var (
	echo = role("echo", func(t *Trial) error {
		c, b := other(t), make([]byte, t.Size)
		for {
			if err := c.Recv(b); err != nil {
				return err
			}
			if err := c.Send(b); err != nil {
				return err
			}
		}
	})
	source      = role("source", func(t *Trial) error { return sendForever(t, 1) })
	batchSource = role("batch source", func(t *Trial) error { return sendForever(t, batchSize) })
)

const (
	batchSize = 32
	batches   = ", batches" // ends the names of those who send so many at a time
)

func sendForever(t *Trial, batch int) error {
	c, b := other(t), make([]byte, t.Size*batch)
	for {
		b[0]++
		if err := c.Send(b); err != nil {
			return err
		}
	}
}

func (tr transport) roundTrip() Contender {
	return Contender{Name: tr.name, Kind: tr.kind, Run: func(t *Trial) error {
		c, err := tr.connect(t, echo)
		if err != nil {
			return err
		}
		b := make([]byte, t.Size)
		return t.Each(func() error {
			if err := c.Send(b); err != nil {
				return err
			}
			return c.Recv(b)
		})
	}}
}

func (tr transport) stream(batch int) Contender {
	name, role := tr.name, source
	if batch > 1 {
		name, role = name+batches, batchSource
	}
	return Contender{Name: name, Kind: tr.kind, Run: func(t *Trial) error {
		c, err := tr.connect(t, role)
		if err != nil {
			return err
		}
		b := make([]byte, t.Size*batch)
		err = t.Loop(func(n int) error {
			for range n {
				if err := c.Recv(b); err != nil {
					return err
				}
			}
			return nil
		})
		t.per(batch)
		return err
	}}
}

// per says that what was counted as one operation was n.
func (t *Trial) per(n int) {
	t.sample.Ops *= n
	t.sample.NS /= float64(n)
	t.sample.CPU /= float64(n)
}

func messageCases() []Case {
	blocking := Case{Item: "a", Name: "roundtrip-64B-blocking",
		About: "64 bytes there and back between two processes that sleep while they wait",
		Bytes: 64, Unit: "round trip",
		Who: []Contender{eventPingPong, condPingPong}}
	for _, tr := range []transport{singleQueue, manyQueue, unixSocket, pipe, tcp, mqueue, channel,
		rawFutex} {
		blocking.Who = append(blocking.Who, tr.roundTrip())
	}
	blocking.Who = append(blocking.Who, shmipc, goIPC, mangos, shmGo, aeron,
		external("POSIX semaphores, memory beside (C)", Peer, "c", "pingpong"),
		external("Boost message_queue (C++)", Peer, "boost", "roundtrip"),
		external("Python multiprocessing.Pipe", Peer, "python", "roundtrip", "pipe"),
		external("Python multiprocessing.Queue", Peer, "python", "roundtrip", "queue"))

	spinning := Case{Item: "a", Name: "roundtrip-64B-spinning",
		About: "64 bytes there and back between two processes that never sleep", Bytes: 64,
		Unit: "round trip",
		Who: []Contender{singleQueueSpin.roundTrip(), manyQueueSpin.roundTrip(),
			byHand.roundTrip(), cacheLine}}
	cases := []Case{blocking, spinning}

	for _, size := range []int{8, 64, 1024} {
		c := Case{Item: "b", Name: fmt.Sprintf("stream-%dB", size), Bytes: size, Unit: "message",
			Full: size == 1024,
			About: fmt.Sprintf("a stream of messages of %d bytes, one by one and %d at a time",
				size, batchSize)}
		for _, tr := range []transport{singleQueue, manyQueue, unixSocket, pipe, tcp, mqueue} {
			c.Who = append(c.Who, tr.stream(1))
		}
		for _, tr := range []transport{singleQueue, manyQueue, unixSocket, pipe} {
			c.Who = append(c.Who, tr.stream(batchSize))
		}
		switch size {
		case 8:
			c.Who = append(c.Who, chanStream[[1]uint64](), bareStream[[1]uint64](1),
				bareStream[[1]uint64](batchSize))
		case 64:
			c.Who = append(c.Who, chanStream[[8]uint64](), bareStream[[8]uint64](1),
				bareStream[[8]uint64](batchSize))
		default:
			c.Who = append(c.Who, chanStream[[128]uint64](), bareStream[[128]uint64](1),
				bareStream[[128]uint64](batchSize))
		}
		c.Who = append(c.Who, shmipc, goIPC, mangos, aeron,
			external("Boost message_queue (C++)", Peer, "boost", "stream"),
			external("Python multiprocessing.Queue", Peer, "python", "stream", "queue"))
		cases = append(cases, c)
	}
	return cases
}

// chanStream sends values over a channel, as a Go program within one process does.
func chanStream[T any]() Contender {
	return Contender{Name: "Go channel", Kind: Note, Run: func(t *Trial) error {
		c := make(chan T, ringSlots)
		go func() {
			var v T
			for {
				bytesOf(&v)[0]++
				c <- v
			}
		}()
		return t.Loop(func(n int) error {
			for range n {
				v := <-c
				sink += bytesOf(&v)[0]
			}
			return nil
		})
	}}
}

// cacheLine is one line that goes there and back: what any message takes at the least.
var cacheLine = Contender{Name: "cache line", Kind: Limit, Run: func(t *Trial) error {
	if _, err := t.Start(bouncer); err != nil {
		return err
	}
	m, err := mapShared(t, 0, "line", 4096)
	if err != nil {
		return err
	}
	there, back := as[atomic.Uint64](m), as[atomic.Uint64](m[128:])
	i := uint64(0)
	var spin spinner
	return t.Each(func() error {
		i++
		there.Store(i)
		for back.Load() != i {
			spin.once()
		}
		return nil
	})
}}

var bouncer = role("bouncer", func(t *Trial) error {
	m, err := mapShared(t, 1, "line", 4096)
	if err != nil {
		return err
	}
	there, back := as[atomic.Uint64](m), as[atomic.Uint64](m[128:])
	var spin spinner
	for i := uint64(1); ; i++ {
		for there.Load() != i {
			spin.once()
		}
		back.Store(i)
	}
})

// external is a contender that measures itself.
func external(name string, kind Kind, tool string, args ...string) Contender {
	return Contender{Name: name, Kind: kind, Needs: tool, Run: func(t *Trial) error {
		return t.External(tool, args...)
	}}
}
