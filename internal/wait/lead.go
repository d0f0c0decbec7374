package wait

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/mem"
)

// A Lead keeps the lead of a mapping between the waits of a caller that waits again and again, and
// has no other waiter do much. Otherwise each wait would pass the lead to a goroutine that waits
// for something else, and a change would be told by that goroutine from then on.
//
// One goroutine at a time uses a Lead, except for Release. While it does not wait, other waiters of
// this process at the mapping are not rung by other processes: it must come back soon, call Attend,
// or have another goroutine go on.
//
// A context of its waits that ends does not wake them. The caller calls Rouse then.
type Lead struct {
	m    *mem.Mapping
	held atomic.Bool // the token of the leader is here
	over atomic.Bool // Release was called: the token does not stay here
}

// NewLead returns a Lead of m, which has a slot. It takes the lead if that is free.
func NewLead(m *mem.Mapping) *Lead {
	x := &Lead{m: m}
	x.held.Store(lotOf(m).token.take())
	return x
}

// take reports whether the caller has the token of the leader now.
func (x *Lead) take() bool { return x != nil && x.held.CompareAndSwap(true, false) }

// Release lets other waiters lead, at once or when the present use of x ends. Later waits do not
// keep the lead.
func (x *Lead) Release() {
	x.over.Store(true)
	if x.take() {
		l := lotOf(x.m)
		l.token.put()
		l.offerLead()
	}
}

// keep keeps the token for the next use.
func (x *Lead) keep() {
	x.held.Store(true)
	if x.over.Load() {
		x.Release()
	}
}

// Attend rings the waiters of this process that other processes have rung. m is pinned.
func (x *Lead) Attend() {
	if !x.take() {
		return
	}
	defer x.keep() // also when memory faults
	l := lotOf(x.m)
	set := l.takePending()
	l.accept(set)
	if now := clock(); now-l.lastScan >= backstop {
		l.lastScan, set = now, ^uint64(0)
	}
	l.dispatch(set)
}

// giveBack puts the token of the leader back, or keeps it for the next wait.
func (l *parkingLot) giveBack(x *Lead) {
	if x != nil {
		x.keep()
		return
	}
	l.token.put()
	l.offerLead()
}

// A token is that of the leader. One that no goroutine waits for is taken and put by one
// compare-and-swap and one store.
type token struct {
	free   atomic.Bool   // it can be taken here
	wanted atomic.Int32  // goroutines that wait at handed
	handed chan struct{} // has it otherwise, if no goroutine has it; nil: there is none
}

// take takes the token if no goroutine has it.
func (t *token) take() bool {
	if t.free.CompareAndSwap(true, false) {
		return true
	}
	select {
	case <-t.handed:
		return true
	default:
		return false
	}
}

// put gives the token to one of those that wait at handed; else it can be taken.
func (t *token) put() {
	if t.wanted.Load() > 0 {
		t.handed <- struct{}{}
		return
	}
	t.free.Store(true)
	// A goroutine that has begun to wait meanwhile has perhaps not found it.
	if t.wanted.Load() > 0 && t.free.CompareAndSwap(true, false) {
		t.handed <- struct{}{}
	}
}

// isFree reports whether no goroutine has the token.
func (t *token) isFree() bool { return t.free.Load() || len(t.handed) > 0 }
