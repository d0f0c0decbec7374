package calls

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/access/accesstest"
)

// memory is the memory of a table in a test. A request and a reply are a word each.
type memory struct {
	parts            Parts
	request, replies []atomic.Uint64
}

func newMemory(calls, servers int) *memory {
	m := &memory{request: make([]atomic.Uint64, calls), replies: make([]atomic.Uint64, calls)}
	m.parts = Parts{
		Header: new(Header), Servers: make([]Server, servers),
		Ready: make([]atomic.Uint64, ReadyWords(calls)),
	}
	for range calls {
		m.parts.Slots = append(m.parts.Slots, new(Slot))
	}
	return m
}

// words are all shared words that decide what happens.
func (m *memory) words() (all []*atomic.Uint64) {
	all = append(all, &m.parts.Header.ServersUsed)
	for i := range m.parts.Servers {
		all = append(all, &m.parts.Servers[i].ID)
	}
	for i := range m.parts.Ready {
		all = append(all, &m.parts.Ready[i])
	}
	for i, s := range m.parts.Slots {
		all = append(all, &s.Word, &s.Client, &m.request[i], &m.replies[i])
	}
	return all
}

// A call of a test, and what became of it.
type aCall struct {
	number  uint64 // the request
	runs    int    // of the handler
	outcome string // "" for one that has not ended: its client was killed
	got     uint64
}

// A party is a process of a test.
type party struct {
	id     uint64
	w      *world
	m      *memory
	t      *Table
	broken variant
}

// A variant is a mistake that a party makes.
type variant int

const (
	correct          variant = iota
	asksEarly                // the request is written after servers can take the call
	finishesEarly            // the client can read the reply before it is written
	finishesAnyway           // the server does not look whether the client has given up
	sweepsOfServers          // a sweep frees the call of a living client whose server is dead
	sameGeneration           // a sweep frees a slot without a new generation
	sweepsWithoutCAS         // a sweep stores the free word
)

func (m *memory) party(w *world, id uint64) *party {
	t, err := New(m.parts)
	if err != nil {
		panic(err)
	}
	return &party{id: id, w: w, m: m, t: t}
}

const endedByAnother = "another process has ended the call"

const patience = 2 // looks at a call before it is given up

// call makes a call, and gives it up if there is no reply after some looks.
func (p *party) call(c *aCall, idempotent bool) {
	i, w, ok := p.t.Take(uint32(p.id), 0)
	if !ok {
		c.outcome = "no room"
		return
	}
	if p.broken == asksEarly {
		w = p.t.Ask(i, w)
		access.Release("request", &p.m.request[i], c.number)
	} else {
		access.Release("request", &p.m.request[i], c.number)
		w = p.t.Ask(i, w)
	}
	for look := 0; ; look++ {
		is := p.t.Load(i)
		if !is.Same(w) {
			c.outcome = endedByAnother
			return
		}
		switch is.State() {
		case Done:
			c.got = access.Load("reply", &p.m.replies[i])
			p.t.Free(i, is)
			c.outcome = "reply"
			return
		case Asked:
			if look < patience {
				p.t.Remark(i, is)
			} else if p.t.Withdraw(i, is) {
				c.outcome = "not begun"
				return
			}
		case Begun:
			switch {
			case !p.w.Alive(is.ID()):
				if idempotent && look < patience {
					p.t.Requeue(i, is)
				} else if p.t.Abandon(i, is) {
					c.outcome = "server died"
					return
				}
			case look >= patience:
				if p.t.Cancel(i, is) {
					c.outcome = "canceled"
					return
				}
			}
		default:
			c.outcome = endedByAnother
			return
		}
	}
}

// serve takes up to n calls. A server that finds none has ended.
func (p *party) serve(n int, all []*aCall) {
	for range n {
		i, w, ok := p.t.Claim(uint32(p.id))
		if !ok {
			return
		}
		number := access.Load("request in the handler", &p.m.request[i])
		for _, c := range all {
			if c.number == number {
				c.runs++
			}
		}
		switch p.broken {
		case finishesEarly:
			p.t.Finish(i, w)
			access.Release("reply", &p.m.replies[i], number+100)
		case finishesAnyway:
			access.Release("reply", &p.m.replies[i], number+100)
			access.Store("done", &p.t.slots[i].Word, uint64(w.to(Done, 0)))
		default:
			access.Release("reply", &p.m.replies[i], number+100)
			p.t.Finish(i, w)
		}
	}
}

// sweep is Sweep, or a broken form of it.
func (p *party) sweep() {
	if p.broken == correct {
		p.t.Sweep(p.w.Alive)
		return
	}
	for i := range p.t.slots {
		w := p.t.Load(i)
		id := w.ID()
		switch s := w.State(); {
		case s == Free:
			continue
		case s == Asked, s == Done, s == Begun && p.broken != sweepsOfServers:
			id = p.t.client(i)
		}
		if p.w.Alive(id) {
			continue
		}
		switch p.broken {
		case sameGeneration:
			p.t.change("sweep", i, w, w.to(Free, 0))
		case sweepsWithoutCAS:
			access.Store("sweep", &p.t.slots[i].Word, uint64(w.next()))
		default:
			p.t.free("sweep", i, w)
		}
	}
}

// check checks what the calls say, and that nothing is left when a living process has swept.
func (m *memory) check(w *world, all []*aCall, idempotent bool) error {
	for _, c := range all {
		switch {
		case c.outcome == endedByAnother:
			return fmt.Errorf("call %d: %s", c.number, c.outcome)
		case c.outcome == "reply" && c.got != c.number+100:
			return fmt.Errorf("call %d got the reply %d", c.number, c.got)
		case c.outcome == "reply" && c.runs < 1, c.outcome == "not begun" && !idempotent && c.runs > 0,
			c.outcome == "no room" && c.runs > 0, !idempotent && c.runs > 1:
			return fmt.Errorf("call %d: %q, the handler ran %d times", c.number, c.outcome, c.runs)
		}
	}
	p := m.party(w, 1000)
	p.t.Sweep(p.w.Alive)
	for i := range p.t.slots {
		if is := p.t.Load(i); is.State() != Free {
			return fmt.Errorf("slot %d has state %d of %d", i, is.State(), is.ID())
		}
	}
	// Every slot has room for another call, which a server finds.
	for range p.t.slots {
		i, word, ok := p.t.Take(1000, 0)
		if !ok {
			return fmt.Errorf("no slot is free")
		}
		p.t.Ask(i, word)
	}
	for range p.t.slots {
		i, word, ok := p.t.Claim(1001)
		if !ok || !p.t.Finish(i, word) {
			return fmt.Errorf("a call is not found")
		}
	}
	return nil
}

// A part is what one process does.
type part struct {
	calls, serves int
	idempotent    bool
	sweeps        bool
	broken        variant
}

func aCase(slots int, parts ...part) func(w *world) func() error {
	return func(w *world) func() error {
		m := newMemory(slots, 2)
		w.Words = m.words()
		var all []*aCall
		idempotent := false
		for i, part := range parts {
			var mine []*aCall
			for n := range part.calls {
				mine = append(mine, &aCall{number: uint64(10*i + n + 1)})
			}
			all = append(all, mine...)
			idempotent = idempotent || part.idempotent
		}
		for i, part := range parts {
			p := m.party(w, uint64(i+1))
			p.broken = part.broken
			from := 0
			for _, before := range parts[:i] {
				from += before.calls
			}
			w.Spawn(uint32(p.id), func() {
				for _, c := range all[from : from+part.calls] {
					p.call(c, part.idempotent)
				}
				if part.serves > 0 {
					p.serve(part.serves, all)
				}
				if part.sweeps {
					p.sweep()
				}
			})
		}
		return func() error { return m.check(w, all, idempotent) }
	}
}

// TestEveryOrder goes through the orders in which processes can take the steps of their calls, and
// kills them at every access.
func TestEveryOrder(t *testing.T) {
	client, server := part{calls: 1}, part{serves: 2}
	sweeper := part{sweeps: true}
	again := part{calls: 1, idempotent: true}
	for _, c := range []struct {
		name  string
		kills int
		build func(w *world) func() error
	}{
		{"a client and a server", 2, aCase(1, client, server)},
		{"a client of two calls and a server", 1, aCase(1, part{calls: 2}, server)},
		{"two clients and a server", 2, aCase(1, client, client, server)},
		{"two clients and two slots", 1, aCase(2, client, client, server)},
		{"a client and two servers", 2, aCase(1, client, server, server)},
		{"a client, a server and a sweeper", 2, aCase(1, client, server, sweeper)},
		{"two clients, a server and a sweeper", 1, aCase(1, client, client, server, sweeper)},
		{"a call that is made again", 2, aCase(1, again, server, server)},
		{"a call that is made again, and another client", 2, aCase(1, again, client, server, server)},
		{"servers that sweep", 1, aCase(1, client, part{serves: 1, sweeps: true}, part{serves: 1, sweeps: true})},
	} {
		exhaust(t, c.name, c.kills, c.build)
	}
}

// TestBrokenIsCaught: the explorer finds the mistakes for which it is here. Each case is otherwise
// one that TestEveryOrder passes.
func TestBrokenIsCaught(t *testing.T) {
	client, server := part{calls: 1}, part{serves: 2}
	sweeper := func(v variant) part { return part{sweeps: true, broken: v} }
	accesstest.Caught(t, "the call is asked before its request", 0,
		aCase(1, part{calls: 1, broken: asksEarly}, server))
	accesstest.Caught(t, "done before the reply", 0,
		aCase(1, client, part{serves: 1, broken: finishesEarly}))
	accesstest.Caught(t, "done although the client has given up", 0,
		aCase(1, client, part{serves: 1, broken: finishesAnyway}))
	accesstest.Caught(t, "a sweep of a dead server", 1, aCase(1, client, server, sweeper(sweepsOfServers)))
	two := func(v variant) func(w *world) func() error {
		return aCase(1, client, client, sweeper(v), sweeper(v))
	}
	accesstest.Caught(t, "no new generation", 1, two(sameGeneration))
	accesstest.Caught(t, "a sweep without compare-and-swap", 1, two(sweepsWithoutCAS))
	exhaust(t, "two clients and two sweepers", 1, two(correct))
}
