//go:build linux

package main

import (
	"fmt"
	"os"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

const (
	maxProcesses = 64
	goroutines   = 3 // of a process
	maxMessages  = 1 << 23
	ends         = 1 << 15 // owned segments of a name that are remembered as ended
)

type violation int

const (
	lostMessage violation = iota
	lostState
	split
	disorder
	leftover
	unexpected
	hung
	violations
)

var violationNames = [violations]string{
	"message lost", "state lost while a process was attached", "two segments of one name",
	"messages out of order", "left at the end", "unexpected error or end", "hung",
}

type counter int

const (
	opens counter = iota
	sends
	receives
	updates
	publishes
	heard
	owns
	closes
	counters
)

var counterNames = [counters]string{
	"opens", "messages sent", "messages received", "updates", "published", "heard", "Own", "closes",
}

// A holding says which segment a goroutine is attached to. Only the goroutine writes it.
type holding struct {
	turn atomic.Uint64 // goes up with every change
	name atomic.Uint64 // number of the name, plus 1
	id   atomic.Uint64 // of the segment; written last, cleared first
}

// A process is the record of one.
type process struct {
	doomed atomic.Uint64 // 1: it is about to die
	beat   atomic.Uint64 // cycles of this life
	at     [goroutines]holding
}

// A nameBook is what is known of a name.
type nameBook struct {
	reach atomic.Uint64 // high half: of the id of a segment; low half: what its box had at least
	ended [ends]atomic.Uint64
	next  atomic.Uint64
}

// books is memory that all processes share with the parent.
type books struct {
	violations [violations]atomic.Uint64
	counts     [counters]atomic.Uint64
	stop       atomic.Uint64 // 1: end
	calm       atomic.Uint64 // 1: no more deaths
	messages   atomic.Uint64 // the last id
	names      [len(names)]nameBook
	processes  [maxProcesses]process
	ledger     [maxMessages]atomic.Uint32 // of each message
}

// Bits of the ledger.
const (
	sent     = 1 // Send has returned nil
	received = 2
)

func openBooks(path string, create bool) (*books, error) {
	n := (mem.SizeOf[books]() + 4095) &^ 4095
	if create {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return nil, err
		}
		if err := os.Truncate(path, int64(n)); err != nil {
			return nil, err
		}
	}
	f, err := sys.Open(path, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m, err := mem.Map(mem.Spec{File: f, Payload: n, Length: n, Write: true})
	if err != nil {
		return nil, err
	}
	return mem.At[books](m, 0)
}

// end notes that an owner is about to end a segment of a name.
func (n *nameBook) end(id uint64) { n.ended[n.next.Add(1)%ends].Store(id) }

func (n *nameBook) hasEnded(id uint64) bool {
	for i := range n.ended {
		if n.ended[i].Load() == id {
			return true
		}
	}
	return false
}

// reached notes that the box of a segment had a count.
func (n *nameBook) reached(id, count uint64) {
	for {
		w := n.reach.Load()
		if w>>32 == id>>32 && w&(1<<32-1) >= count {
			return
		}
		if n.reach.CompareAndSwap(w, id&^(1<<32-1)|count) {
			return
		}
	}
}

// least returns what the box of a segment had at least.
func (n *nameBook) least(id uint64) uint64 {
	if w := n.reach.Load(); w>>32 == id>>32 {
		return w & (1<<32 - 1)
	}
	return 0
}
