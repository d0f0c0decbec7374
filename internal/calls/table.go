package calls

import (
	"errors"
	"math/bits"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/step"
)

// Limits of a table.
const (
	MaxCalls   = 4096
	MaxServers = 64
)

// ErrShape is returned for parts that do not fit together.
var ErrShape = errors.New("a shape that is not possible")

// Parts are the memory of a table.
type Parts struct {
	Header  *Header
	Servers []Server
	Ready   []atomic.Uint64 // the index of calls that wait for a server: a bit each
	Slots   []*Slot
}

// ReadyWords returns the number of words of the index for so many calls.
func ReadyWords(calls int) int { return (calls + 63) / 64 }

// A Table is a table of calls in shared memory. Its methods may be called concurrently.
type Table struct {
	header  *Header
	servers []Server
	ready   []atomic.Uint64
	slots   []*Slot
	last    atomic.Uint32 // the slot behind the one that Claim has found last
}

// New returns a table over its parts.
func New(p Parts) (*Table, error) {
	if p.Header == nil || len(p.Slots) < 1 || len(p.Slots) > MaxCalls || len(p.Servers) < 1 ||
		len(p.Servers) > MaxServers || len(p.Ready) != ReadyWords(len(p.Slots)) {
		return nil, ErrShape
	}
	return &Table{header: p.Header, servers: p.Servers, ready: p.Ready, slots: p.Slots}, nil
}

// Calls returns how many calls there is room for.
func (t *Table) Calls() int { return len(t.slots) }

// Slot returns slot i.
func (t *Table) Slot(i int) *Slot { return t.slots[i] }

// Load returns the word of slot i.
func (t *Table) Load(i int) Word { return Word(access.Load("word", &t.slots[i].Word)) }

// change changes the word of slot i, if it is the one that the caller knows.
func (t *Table) change(name string, i int, from, to Word) bool {
	return access.CAS(name, &t.slots[i].Word, uint64(from), uint64(to))
}

// Take takes a free slot for a client, the first one from slot start on. It reports false if there
// is none.
func (t *Table) Take(client uint32, start int) (i int, w Word, ok bool) {
	n := len(t.slots)
	i = start
	for range n {
		if i >= n {
			i = 0
		}
		if w := t.Load(i); w.State() == Free {
			next := w.to(Taken, client)
			if t.change("take", i, w, next) {
				step.Reach(step.CallTaken)
				return i, next, true
			}
		}
		i++
	}
	return 0, 0, false
}

// AnyFree reports whether there is a free slot.
func (t *Table) AnyFree() bool {
	for i := range t.slots {
		if t.Load(i).State() == Free {
			return true
		}
	}
	return false
}

// Ask lets servers take the call, whose request the client has written. It returns the word of the
// call.
func (t *Table) Ask(i int, w Word) Word {
	access.Release("client", &t.slots[i].Client, uint64(w.ID()))
	step.Reach(step.CallWritten)
	asked := w.to(Asked, 0)
	access.Release("ask", &t.slots[i].Word, uint64(asked))
	step.Reach(step.CallAsked)
	t.mark(i)
	step.Reach(step.CallMarked)
	return asked
}

func (t *Table) mark(i int) { access.Or("mark", &t.ready[i/64], 1<<(i%64)) }

// Remark sets the bit of a call that waits for a server, if it was lost. It reports whether it was.
func (t *Table) Remark(i int, w Word) bool {
	if w.State() != Asked || access.Load("marked", &t.ready[i/64])&(1<<(i%64)) != 0 ||
		t.Load(i) != w {
		return false
	}
	t.mark(i)
	return true
}

// AnyReady reports whether there seems to be a call that waits for a server.
func (t *Table) AnyReady() bool {
	for i := range t.ready {
		if access.Load("ready", &t.ready[i]) != 0 {
			return true
		}
	}
	return false
}

// Claim takes a call for a server. It begins behind the one that it found last, so that each call
// has its turn. It reports false if there is no call.
func (t *Table) Claim(server uint32) (i int, w Word, ok bool) {
	n := len(t.ready)
	start := int(t.last.Load()) % len(t.slots)
	at := start / 64
	mask := ^uint64(0) << (start % 64)
	for range n + 1 {
		for set := access.Load("ready", &t.ready[at]) & mask; set != 0; set &= set - 1 {
			i := 64*at + bits.TrailingZeros64(set)
			if i >= len(t.slots) {
				access.AndNot("unmark", &t.ready[at], 1<<(i%64)) // a scribbler has set it
				continue
			}
			if w, ok := t.claim(server, i); ok {
				t.last.Store(uint32(i + 1))
				return i, w, true
			}
		}
		mask = ^uint64(0)
		if at++; at == n {
			at = 0
		}
	}
	return 0, 0, false
}

// claim takes a call if it waits for a server.
func (t *Table) claim(server uint32, i int) (Word, bool) {
	bit := uint64(1) << (i % 64)
	for {
		w := t.Load(i)
		if w.State() == Asked {
			next := w.to(Begun, server)
			if !t.change("begin", i, w, next) {
				continue
			}
			step.Reach(step.CallBegun)
			// No other process frees the slot, so the bit is that of no later call.
			access.AndNot("unmark", &t.ready[i/64], bit)
			step.Reach(step.CallClaimed)
			return next, true
		}
		if access.Load("marked", &t.ready[i/64])&bit == 0 {
			return 0, false
		}
		access.AndNot("unmark", &t.ready[i/64], bit)
		if t.Load(i).State() != Asked { // it was no bit of a later call
			return 0, false
		}
		t.mark(i)
	}
}

// Finish hands the slot back to the client. w is what Claim has returned. It reports false if the
// client had given up: the slot is free then.
func (t *Table) Finish(i int, w Word) (replied bool) {
	step.Reach(step.CallReplied)
	if t.change("done", i, w, w.to(Done, 0)) {
		step.Reach(step.CallDone)
		return true
	}
	t.free("drop", i, w.to(Canceled, w.ID()))
	step.Reach(step.CallDropped)
	return false
}

// IsCanceled reports whether the client has given up a call that has begun. w is what Claim has
// returned.
func (t *Table) IsCanceled(i int, w Word) bool { return t.Load(i) != w }

// free ends a call.
func (t *Table) free(name string, i int, w Word) bool { return t.change(name, i, w, w.next()) }

// Free frees the slot of a call whose reply the client has read.
func (t *Table) Free(i int, w Word) {
	step.Reach(step.CallRead)
	t.free("free", i, w)
	step.Reach(step.CallFreed)
}

// Untake frees the slot of a call that was not asked.
func (t *Table) Untake(i int, w Word) { t.free("untake", i, w) }

// Withdraw gives a call up that waits for a server: none will take it. w is its word in that state.
// It reports false if a server has taken it.
func (t *Table) Withdraw(i int, w Word) bool {
	ok := t.free("withdraw", i, w)
	if ok {
		step.Reach(step.CallFreed)
	}
	return ok
}

// Cancel gives a call up that a server has begun. The server is to be woken at CancelArmed. It
// reports false if the call has changed.
func (t *Table) Cancel(i int, w Word) bool {
	if !t.change("cancel", i, w, w.to(Canceled, w.ID())) {
		return false
	}
	step.Reach(step.CallCanceled)
	access.Add("canceled", &t.header.Canceled, 1)
	return true
}

// Abandon frees the slot of a call that a dead server has begun.
func (t *Table) Abandon(i int, w Word) bool { return t.free("abandon", i, w) }

// Requeue lets another server take a call that a dead one has begun. A server is to be woken.
func (t *Table) Requeue(i int, w Word) bool {
	if !t.change("requeue", i, w, w.to(Asked, 0)) {
		return false
	}
	step.Reach(step.CallRequeued)
	t.mark(i)
	access.Add("requeued", &t.header.Requeued, 1)
	return true
}

// A Swept says what Sweep has found.
type Swept struct {
	Freed    int // slots that are free now
	Canceled int // calls whose servers are to be told
}

// Sweep frees the slots of dead processes, and cancels calls of dead clients that servers have
// begun. Calls of living clients that dead servers have begun are left to the clients.
func (t *Table) Sweep(alive func(id uint32) bool) (s Swept) {
	for i := range t.slots {
		w := t.Load(i)
		switch w.State() {
		case Taken, Canceled:
			if !alive(w.ID()) && t.free("sweep", i, w) {
				s.Freed++
			}
		case Asked, Done:
			if !alive(t.client(i)) && t.free("sweep", i, w) {
				s.Freed++
			}
		case Begun:
			switch {
			case alive(t.client(i)):
			case !alive(w.ID()):
				if t.free("sweep", i, w) {
					s.Freed++
				}
			case t.Cancel(i, w):
				s.Canceled++
			}
		}
	}
	if s.Freed+s.Canceled > 0 {
		step.Reach(step.CallSwept)
		access.Add("freed", &t.header.Freed, uint64(s.Freed))
	}
	return s
}

// client returns the client of a call that was asked.
func (t *Table) client(i int) uint32 { return uint32(access.Load("client", &t.slots[i].Client)) }

// Join makes a record of a server, in the place of a dead one if need be. It reports false if there
// is no room.
func (t *Table) Join(id uint32, alive func(id uint32) bool) (*Server, bool) {
	for i := range t.servers {
		s := &t.servers[i]
		was := access.Load("server", &s.ID)
		if was != 0 && alive(uint32(was)) || !access.CAS("join", &s.ID, was, uint64(id)) {
			continue
		}
		for {
			used := access.Load("used", &t.header.ServersUsed)
			if used > uint64(i) || access.CAS("use", &t.header.ServersUsed, used, uint64(i)+1) {
				break
			}
		}
		access.Add("joined", &t.header.Joined, 1)
		step.Reach(step.CallJoined)
		for i := range t.slots { // what a dead process has left without its bit
			t.Remark(i, t.Load(i))
		}
		return s, true
	}
	return nil, false
}

// Leave ends the record of a server.
func (t *Table) Leave(s *Server, id uint32) { access.CAS("leave", &s.ID, uint64(id), 0) }

// Servers appends the ids of the servers that there are records of, dead ones too.
func (t *Table) Servers(list []uint32) []uint32 {
	n := min(access.Load("used", &t.header.ServersUsed), uint64(len(t.servers)))
	for i := range t.servers[:n] {
		if id := access.Load("server", &t.servers[i].ID); id != 0 {
			list = append(list, uint32(id))
		}
	}
	return list
}
