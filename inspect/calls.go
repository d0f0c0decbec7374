package inspect

import (
	"fmt"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/calls"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/sys"
)

// CallStats are the counters of a service of package rpc, and what its calls are doing.
type CallStats struct {
	Capacity int // calls that there is room for at a time
	Servers  int // attachments that serve, living ones
	Clients  int // attachments that have calls now
	Waiting  int // calls that no server has begun
	Running  int // calls whose handlers run
	Canceled int // of these, the ones whose clients have given up
	// Oldest is how long the oldest of these calls has been there; 0: there is none.
	Oldest   time.Duration
	Handled  uint64 // all calls that were replied to
	Failed   uint64 // of these, the ones for which the handler returned an error
	Freed    uint64 // calls whose clients died
	Requeued uint64 // calls that went to another server when theirs died
}

// CallTypes returns the types of the requests and replies of a service of package rpc, and nil if t
// is none. Of bytes it is an array of the largest size.
func (t *Type) CallTypes() (request, reply *Type) {
	l, err := layout.CallsOf(t.schema())
	if err != nil {
		return nil, nil
	}
	return typeOf(l.Request), typeOf(l.Reply)
}

// CallStats returns the counters of a service of package rpc, and nil if the segment is none. It
// disturbs no process.
func (o *Observer) CallStats() (st *CallStats, err error) {
	if err := o.usable(); err != nil && err != shmem.ErrClosed || !layout.IsCalls(o.t) {
		return nil, nil
	}
	err = o.guarded("inspect calls", func() error {
		l, err := layout.CallsOf(o.t)
		if err != nil {
			return fmt.Errorf("%w: %w", shmem.ErrMismatch, err)
		}
		t, p, err := stream.CallTable(o.m, l)
		if err != nil {
			return fmt.Errorf("%w (%v)", shmem.ErrCorrupt, err)
		}
		st = o.callStats(t, p)
		return nil
	})
	return st, err
}

// callStats reads the table of a service. The mapping is pinned.
func (o *Observer) callStats(t *calls.Table, p calls.Parts) *CallStats {
	st := &CallStats{
		Capacity: t.Calls(), Freed: p.Header.Freed.Load(), Requeued: p.Header.Requeued.Load(),
	}
	for i := range p.Servers {
		s := &p.Servers[i]
		st.Handled += s.Handled.Load()
		st.Failed += s.Failed.Load()
		if id := uint32(s.ID.Load()); id != 0 && o.holder(format.ID(id), "").Alive {
			st.Servers++
		}
	}
	clients := map[uint64]bool{}
	now := sys.Uptime(time.Now())
	for i := range t.Calls() {
		s := t.Slot(i)
		switch t.Load(i).State() {
		case calls.Asked:
			st.Waiting++
		case calls.Begun:
			st.Running++
		case calls.Canceled:
			st.Running++
			st.Canceled++
		default:
			continue
		}
		clients[s.Client.Load()] = true
		if since := time.Duration(s.Since.Load()); since > 0 && since < now {
			st.Oldest = max(st.Oldest, now-since)
		}
	}
	st.Clients = len(clients)
	return st
}
