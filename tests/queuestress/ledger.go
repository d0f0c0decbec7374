//go:build linux

package main

import (
	"sync/atomic"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/segment"
)

const (
	logLen   = 1 << 16
	maxProcs = 16
)

// A ledger records in shared memory what each process does. It outlives kills, so that the parent
// knows what a killed process was about to do.
type ledger struct {
	seg *shmem.Segment
	*words
	bits []atomic.Uint64 // one for each message: it was received
	per  uint64          // bits for each producer
}

type words struct {
	Stop     atomic.Uint64 // 1: the producers stop
	LogNext  atomic.Uint64 // entries that were logged; those behind logLen are lost
	Producer [maxProcs]struct {
		Intent atomic.Uint64 // messages whose Send has begun
		Done   atomic.Uint64 // messages whose Send has returned
		Beat   atomic.Uint64 // calls that returned
	}
	Consumer [maxProcs]struct {
		Got, Beat atomic.Uint64
		Hand      atomic.Uint64 // the entry of the message that is being received; 0: none
	}
	Log [logLen]atomic.Uint64
}

// Kinds of entries.
const (
	holding = 1
	double  = 1 // logged: arrived before
	late    = 2 // logged: a later one of its producer arrived before
	gap     = 3 // logged: it misses in the sequence of its producer
)

const kindShift = 60

// entry packs a message and what is said of it into one word.
func entry(kind, p int, seq uint64) uint64 { return uint64(kind)<<kindShift | uint64(p)<<48 | seq }

func kindOf(e uint64) uint64      { return e >> kindShift }
func withoutKind(e uint64) uint64 { return e &^ (15 << kindShift) }

// got returns how many messages were received, repeated ones included.
func (l *ledger) got() (n uint64) {
	for i := range l.Consumer {
		n += l.Consumer[i].Got.Load()
	}
	return n
}

func (l *ledger) log(kind, p int, seq uint64) {
	if i := l.LogNext.Add(1) - 1; i < logLen {
		l.Log[i].Store(entry(kind, p, seq))
	}
}

// set sets the bit of a message, and reports whether it was set before.
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
