package main

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// bareRing is what a ring between one sender and one receiver costs at the least: each writes its
// own index only, by a plain store, and reads the other's as seldom as it can. It never sleeps,
// notices no death, and checks nothing.
type bareRing struct {
	head atomic.Uint64
	_    [120]byte
	tail atomic.Uint64
	_    [120]byte
}

// A spinner waits without sleeping. Where the other side does not get a CPU it lets it have this
// one, so that figures from a loaded machine mean something, too.
type spinner uint32

func (s *spinner) once() {
	pause()
	if *s++; *s%(1<<14) == 0 {
		yield()
	}
}

const ringSlots = 4096

func openRing[T any](t *Trial, side int) (*bareRing, []T, error) {
	var v T
	const head = int(unsafe.Sizeof(bareRing{}))
	m, err := mapShared(t, side, "ring", head+ringSlots*int(unsafe.Sizeof(v)))
	if err != nil {
		return nil, nil, err
	}
	return as[bareRing](m), slice[T](m[head:], ringSlots), nil
}

// produce sends for ever, and lets the receiver know of every batch-th item.
func produce[T any](r *bareRing, items []T, batch uint64) {
	var v T
	var spin spinner
	head, tail := uint64(0), uint64(0)
	for {
		for tail+batch-head > ringSlots {
			if head = r.head.Load(); tail+batch-head > ringSlots {
				spin.once()
			}
		}
		for range batch {
			bytesOf(&v)[0]++
			items[tail%ringSlots] = v
			tail++
		}
		storeRelease(&r.tail, tail)
	}
}

// consume receives n items in batches.
func consume[T any](r *bareRing, items []T, batch uint64, head *uint64, n int) (sum byte) {
	h, tail := *head, uint64(0)
	var v T
	var spin spinner
	for got := 0; got < n; got += int(batch) {
		for tail < h+batch {
			if tail = r.tail.Load(); tail < h+batch {
				spin.once()
			}
		}
		for range batch {
			v = items[h%ringSlots]
			sum += bytesOf(&v)[0]
			h++
		}
		storeRelease(&r.head, h)
	}
	*head = h
	return sum
}

// bareStream starts a process for the sending side. Its role needs T and the batch: it is named
// after them.
func bareStream[T any](batch uint64) Contender {
	var v T
	name := "bare ring"
	if batch > 1 {
		name += batches
	}
	sender := role(fmt.Sprintf("%s of %T", name, v), func(t *Trial) error {
		r, items, err := openRing[T](t, 1)
		if err == nil {
			produce(r, items, batch)
		}
		return err
	})
	return Contender{Name: name, Kind: Limit, Run: func(t *Trial) error {
		if _, err := t.Start(sender); err != nil {
			return err
		}
		r, items, err := openRing[T](t, 0)
		if err != nil {
			return err
		}
		var head uint64
		err = t.Loop(func(n int) error {
			sink += consume(r, items, batch, &head, n*int(batch))
			return nil
		})
		t.per(int(batch))
		return err
	}}
}

var sink byte
