package main

import (
	"fmt"
	"strings"
)

// ends touches a message in place as little as one can: its first and its last byte.
func ends(b []byte) {
	b[0]++
	b[len(b)-1]++
}

func look(b []byte) { sink += b[0] + b[len(b)-1] }

var placeSource = role("source in place", func(t *Trial) error {
	c := other(t).(placer)
	for {
		if err := c.SendInPlace(t.Size, ends); err != nil {
			return err
		}
	}
})

// inPlace ends the name of what hands messages over in place.
const inPlace = ", in place"

// handOver is a stream of messages that are written and read where they are.
func (tr transport) handOver() Contender {
	name := strings.TrimSuffix(tr.name, inPlace) + inPlace
	return Contender{Name: name, Kind: tr.kind, Run: func(t *Trial) error {
		c, err := tr.connect(t, placeSource)
		if err != nil {
			return err
		}
		p := c.(placer)
		return t.Loop(func(n int) error {
			return repeat(n, func() error { return p.RecvInPlace(look) })
		})
	}}
}

// barePlaces is a bare ring of places in which the same is touched.
var barePlaces = Contender{Name: "bare ring, the same touched", Kind: Limit,
	Run: func(t *Trial) error {
		if _, err := t.Start(barePlaceSource); err != nil {
			return err
		}
		r, data, err := openPlaces(t)
		if err != nil {
			return err
		}
		head, tail := uint64(0), uint64(0)
		var spin spinner
		return t.Loop(func(n int) error {
			for range n {
				for tail == head {
					if tail = r.tail.Load(); tail == head {
						spin.once()
					}
				}
				look(place(data, head, t.Size))
				head++
				storeRelease(&r.head, head)
			}
			return nil
		})
	}}

var barePlaceSource = role("bare source in place", func(t *Trial) error {
	r, data, err := openPlaces(t)
	if err != nil {
		return err
	}
	head, tail := uint64(0), uint64(0)
	var spin spinner
	for {
		for tail-head == placeSlots {
			if head = r.head.Load(); tail-head == placeSlots {
				spin.once()
			}
		}
		ends(place(data, tail, t.Size))
		tail++
		storeRelease(&r.tail, tail)
	}
})

const placeSlots = 64

func openPlaces(t *Trial) (*bareRing, []byte, error) {
	m, err := mapOpen(t, "places", 4096+placeSlots*t.Size)
	if err != nil {
		return nil, nil, err
	}
	return as[bareRing](m), m[4096:], nil
}

func place(data []byte, pos uint64, size int) []byte {
	i := int(pos%placeSlots) * size
	return data[i : i+size]
}

var memcpy = Contender{Name: "copy() once", Kind: Limit, Run: func(t *Trial) error {
	from, to := make([]byte, t.Size), make([]byte, t.Size)
	return t.Loop(func(n int) error {
		for range n {
			copy(to, from)
		}
		return nil
	})
}}

func bulkCases() (cases []Case) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20, 8 << 20} {
		name := fmt.Sprintf("%dKiB", size>>10)
		if size >= 1<<20 {
			name = fmt.Sprintf("%dMiB", size>>20)
		}
		copied := Case{Item: "c", Name: "bulk-" + name, Bytes: size, Unit: "message",
			Full:  size == 4<<10 || size == 8<<20,
			About: "a stream of messages of " + name + ", copied in and copied out"}
		for _, tr := range []transport{singleBytes, manyBytes, unixSocket, pipe, tcp, channel} {
			copied.Who = append(copied.Who, tr.stream(1))
		}
		copied.Who = append(copied.Who, memcpy, shmipc)
		if size <= 1<<20 {
			copied.Who = append(copied.Who,
				external("Boost message_queue (C++)", Peer, "boost", "stream"))
		}
		copied.Who = append(copied.Who,
			external("Python multiprocessing.Queue", Peer, "python", "stream", "queue"))

		inPlace := Case{Item: "c", Name: "inplace-" + name, Bytes: size, Unit: "message",
			Full: copied.Full,
			About: "a stream of messages of " + name +
				", handed over in place, their first and last byte touched"}
		inPlace.Who = []Contender{singleBytesPlace.handOver(), manyBytesPlace.handOver(),
			channel.handOver(), shmipc, barePlaces}
		cases = append(cases, copied, inPlace)
	}
	return cases
}
