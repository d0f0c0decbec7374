//go:build linux

package main

import (
	"fmt"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
)

// lengths are the cases of messages of size bytes.
func lengths(size int) (all []bench) {
	group := fmt.Sprintf("messages of %d bytes", size)
	n := min(400_000, max(2000, (1<<29)/size))
	for _, k := range []struct {
		name            string
		single, inPlace bool
	}{
		{"Bytes, Single, copied", true, false},
		{"Bytes, Single, in place", true, true},
		{"Bytes, copied", false, false},
		{"Bytes, in place", false, true},
	} {
		m := n
		if k.inPlace {
			m = max(n, 100_000) // nothing is copied: the cost should not depend on the size
		}
		all = append(all, bench{group: group, name: k.name, n: m, bytes: size,
			here:  &bytesSender{bytesQueue{single: k.single, size: size}, k.inPlace},
			there: &bytesReceiver{bytesQueue{single: k.single, size: size}, k.inPlace}})
	}
	all = append(all, bareBytes(group, size, n)...)
	return append(all, bench{group: group, name: "Unix socket", n: n / 4, bytes: size,
		here:  &streamWriter{unix: true, size: size, batch: 1},
		there: &streamReader{unix: true, size: size, batch: 1}})
}

type bytesQueue struct {
	single bool
	size   int
	q      *queue.Bytes
}

func (x *bytesQueue) close() { x.q.Close() }

func (x *bytesQueue) options() *queue.BytesOptions {
	return &queue.BytesOptions{
		Bytes: max(1<<20, 16*x.size), Capacity: 1024, Single: x.single, Lifetime: shmem.Owned,
	}
}

type bytesSender struct {
	bytesQueue
	inPlace bool
}

func (x *bytesSender) open() {
	var err error
	x.q, err = queue.CreateBytes(*base, x.options())
	must(err)
}

func (x *bytesSender) run(n int) {
	q, b := x.q, make([]byte, x.size)
	f := func(b []byte) error { b[0]++; return nil }
	for range n {
		if x.inPlace {
			must(q.SendFunc(ctx, len(b), f))
		} else {
			must(q.Send(ctx, b))
		}
	}
}

type bytesReceiver struct {
	bytesQueue
	inPlace bool
}

func (x *bytesReceiver) open() {
	var err error
	x.q, err = queue.AttachBytes(*base, x.options())
	must(err)
}

func (x *bytesReceiver) run(n int) {
	q, buf := x.q, make([]byte, 0, x.size)
	sum := byte(0)
	f := func(b []byte) error { sum += b[0]; return nil }
	for range n {
		if x.inPlace {
			must(q.RecvFunc(ctx, f))
			continue
		}
		var err error
		buf, err = q.Recv(ctx, buf[:0])
		must(err)
	}
}
