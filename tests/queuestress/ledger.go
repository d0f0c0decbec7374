//go:build linux

package main

import (
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
)

const (
	maxEach  = 1 << 31 // messages a producer
	logLen   = 1 << 16
	maxProcs = 16
	maxHands = 64
)

// A ledger is what the processes are at.
type ledger struct {
	seg *shmem.Segment
	*words
	bits []atomic.Uint64 // a bit a message, received
	per  uint64          // bits a producer
}

type words struct {
	Stop, LogNext atomic.Uint64
	Producer      [maxProcs]struct{ Intent, Done, Beat atomic.Uint64 }
	Consumer      [maxProcs]struct {
		Got, Beat, Waited atomic.Uint64
		Hands             [maxHands]atomic.Uint64 // what is being received: id+1
	}
	Log [logLen]atomic.Uint64
}

// Kinds of what is written in the log.
const (
	double = 1 + iota
	late
	gap
)

func entry(kind int, p int, seq uint64) uint64 { return uint64(kind)<<60 | uint64(p)<<48 | seq }

func (l *ledger) log(kind, p int, seq uint64) {
	if i := l.LogNext.Add(1) - 1; i < logLen {
		l.Log[i].Store(entry(kind, p, seq))
	}
}

func (l *ledger) set(p int, seq uint64) (was bool) {
	i := uint64(p)*l.per + seq
	bit := uint64(1) << (i % 64)
	return l.bits[i/64].Or(bit)&bit != 0
}

func (l *ledger) has(p int, seq uint64) bool {
	i := uint64(p)*l.per + seq
	return l.bits[i/64].Load()>>(i%64)&1 != 0
}

func openLedger(create bool) (*ledger, error) {
	l := &ledger{per: min(*messages/uint64(*producers)+64, 1<<32) &^ 63}
	if *messages > 1<<40 {
		l.per = 1 << 28
	}
	head := (mem.SizeOf[words]() + 4095) &^ 4095
	n := int(l.per) / 64 * *producers
	opts := &shmem.Options{Dir: *dir, Undo: shmem.UndoNever, Populate: -1}
	var err error
	if create {
		l.seg, err = shmem.CreateSegment(*base+".ledger", head+8*n, opts)
	} else {
		l.seg, err = shmem.AttachSegment(*base+".ledger", opts)
	}
	if err != nil {
		return nil, err
	}
	m := segment.Shmem.Attachment(l.seg).Mapping()
	if l.words, err = mem.At[words](m, 0); err != nil {
		return nil, err
	}
	l.bits, err = mem.SliceAt[atomic.Uint64](m, head, n)
	return l, err
}
