package pool

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/access/accesstest"
)

// memory is the memory of a pool in a test, and a word through which processes pass handles.
type memory struct {
	parts Parts
	post  atomic.Uint64 // 1 + buffer, share, generation, and whether the handle has a ticket
	err   error         // the first thing that went wrong
}

func newMemory(buffers, each int) *memory {
	return &memory{parts: Parts{
		Header: new(Header), States: make([]atomic.Uint64, buffers),
		Shares: make([]atomic.Uint64, buffers*each),
	}}
}

func (m *memory) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

// A party is a process of a test. A broken variant replaces its functions.
type party struct {
	id       uint32
	w        *world
	m        *memory
	p        *Pool
	join     func(p *Pool, me uint32, i int, gen uint64) (Ref, error)
	leave    func(p *Pool, r Ref) bool
	handOver func(p *Pool, r Ref, ticket, deadline uint32) (int, error)
	sweep    func(p *Pool, alive func(uint32) bool, now uint32)
}

func (m *memory) party(w *world, id uint32) *party {
	p, err := New(m.parts)
	if err != nil {
		panic(err)
	}
	return &party{
		id: id, w: w, m: m, p: p,
		join: (*Pool).Join, leave: (*Pool).Leave, handOver: (*Pool).HandOver,
		sweep: func(p *Pool, alive func(uint32) bool, now uint32) { p.Sweep(alive, now) },
	}
}

const (
	deadline = 100
	later    = 200
	ticket   = 7
)

// holds checks that a buffer is still the one that the party has a share of.
func (p *party) holds(r Ref) {
	if s := State(access.Load("holds", &p.m.parts.States[r.Buffer])); !s.is(r.Gen) {
		p.m.fail("%d holds generation %d of buffer %d, which is %x", p.id, r.Gen, r.Buffer, s)
	}
}

func (p *party) take() (Ref, bool) {
	return p.p.Take(p.id, 0, len(p.m.parts.States), 0)
}

func (p *party) end(r Ref) {
	p.holds(r)
	p.leave(p.p, r)
}

// send passes a handle on; the party keeps its share unless flies.
func (p *party) send(r Ref, flies bool) {
	word := uint64(1+r.Buffer)<<32 | r.Gen<<8
	if flies {
		k, err := p.handOver(p.p, r, ticket, deadline)
		if err != nil {
			p.end(r)
			return
		}
		word |= 1 | uint64(k)<<1
	}
	access.Store("post", &p.m.post, word)
}

// receive resolves the handle that was passed, if there is one.
func (p *party) receive() (Ref, bool) {
	word := access.Load("receive", &p.m.post)
	if word == 0 {
		return Ref{}, false
	}
	i, gen := int(word>>32)-1, word>>8&0xff
	var r Ref
	var err error
	if word&1 != 0 {
		r, err = p.p.Accept(p.id, i, int(word>>1&0x7f), gen, ticket)
	} else {
		r, err = p.join(p.p, p.id, i, gen)
	}
	if err == nil {
		return r, true
	}
	if !errors.Is(err, ErrStale) && !errors.Is(err, ErrNoShare) {
		p.m.fail("%v", err)
	}
	return r, false
}

// What processes do.
var (
	taker = func(p *party) {
		if r, ok := p.take(); ok {
			p.end(r)
		}
	}
	sharer = func(p *party) { // takes, passes a handle, and leaves
		if r, ok := p.take(); ok {
			p.send(r, false)
			p.end(r)
		}
	}
	sender = func(p *party) { // takes and hands over
		if r, ok := p.take(); ok {
			p.send(r, true)
		}
	}
	twice = func(p *party) { // hands one of two shares over, and leaves the other one
		if r, ok := p.take(); ok {
			other, err := p.join(p.p, p.id, r.Buffer, r.Gen)
			if err != nil {
				p.end(r)
				return
			}
			p.send(other, true)
			p.end(r)
		}
	}
	receiver = func(p *party) {
		if r, ok := p.receive(); ok {
			p.end(r)
		}
	}
	forwarder = func(p *party) { // receives and hands over
		if r, ok := p.receive(); ok {
			p.send(r, true)
		}
	}
	sweeper = func(p *party) { p.sweep(p.p, p.w.Alive, 0) }
	late    = func(p *party) { p.sweep(p.p, p.w.Alive, later) }
)

// change makes a broken variant.
type change func(p *party)

// aCase runs processes. Processes of the same name have one id, and cannot be killed then.
func aCase(buffers, each int, broken change, all ...func(p *party)) func(w *world) func() error {
	return func(w *world) func() error {
		m := newMemory(buffers, each)
		w.ShareAll(m.parts.States)
		w.ShareAll(m.parts.Shares)
		w.Share(&m.post)
		for i, run := range all {
			p := m.party(w, uint32(i+1))
			if broken != nil {
				broken(p)
			}
			w.Spawn(p.id, func() { run(p) })
		}
		return func() error { return m.check(w) }
	}
}

// threads is aCase of a process that does two things at a time, beside others.
func threads(buffers, each int, broken change, one, two func(p *party), all ...func(p *party),
) func(w *world) func() error {
	return func(w *world) func() error {
		m := newMemory(buffers, each)
		w.ShareAll(m.parts.States)
		w.ShareAll(m.parts.Shares)
		w.Share(&m.post)
		for i, run := range append([]func(p *party){one, two}, all...) {
			p := m.party(w, uint32(max(i, 1)))
			if broken != nil {
				broken(p)
			}
			w.Spawn(p.id, func() { run(p) })
		}
		return func() error { return m.check(w) }
	}
}

// check checks that everything is free when a living process has swept.
func (m *memory) check(w *world) error {
	if m.err != nil {
		return m.err
	}
	p := m.party(w, 1000)
	if !w.AnyDead() { // then only what is in flight is left
		for i := range m.parts.States {
			if taken := State(m.parts.States[i].Load()).Taken(); taken != m.inFlight(i) {
				return fmt.Errorf("no process is dead: buffer %d is taken: %t, it is in flight: %t", i,
					taken, !taken)
			}
		}
	}
	p.sweep(p.p, func(id uint32) bool { return id == 1000 || !w.Dead(id) }, later)
	for i := range m.parts.States {
		if p.p.Load(i).Taken() {
			return fmt.Errorf("buffer %d is lost: %x", i, p.p.Load(i))
		}
	}
	for i := range m.parts.Shares {
		if is := m.parts.Shares[i].Load(); is != 0 {
			return fmt.Errorf("share %d is left: %x", i, is)
		}
	}
	for range m.parts.States {
		if _, ok := p.take(); !ok {
			return errors.New("a free buffer cannot be taken")
		}
	}
	return m.err
}

func (m *memory) inFlight(i int) bool {
	each := len(m.parts.Shares) / len(m.parts.States)
	for k := range each {
		if Share(m.parts.Shares[i*each+k].Load()).Flies() {
			return true
		}
	}
	return false
}

// TestEveryOrder goes through the orders in which processes can take the steps, and kills them at
// every access. No buffer is freed while a process has a share of it, and none is lost.
func TestEveryOrder(t *testing.T) {
	for _, c := range []struct {
		name  string
		kills int
		build func(w *world) func() error
	}{
		{"two that take", 2, aCase(1, 2, nil, taker, taker)},
		{"two that take, and a sweeper", 2, aCase(1, 2, nil, taker, taker, sweeper)},
		{"two that take of two", 2, aCase(2, 1, nil, taker, taker)},
		{"a handle that is shared", 2, aCase(1, 2, nil, sharer, receiver)},
		{"a handle that is shared, and a taker", 1, aCase(1, 2, nil, sharer, receiver, taker)},
		{"a handle that is shared, and a sweeper", 2, aCase(1, 2, nil, sharer, receiver, sweeper)},
		{"a handle that two receive", 1, aCase(1, 3, nil, sharer, receiver, receiver)},
		{"a handle that is handed over", 2, aCase(1, 2, nil, sender, receiver)},
		{"a handle that two try to accept", 1, aCase(1, 2, nil, sender, receiver, receiver)},
		{"a handle whose time is up", 2, aCase(1, 2, nil, sender, receiver, late)},
		{"a handle that is forwarded", 1, aCase(1, 2, nil, sharer, forwarder, receiver)},
		{"one of two shares is handed over", 1, aCase(1, 2, nil, twice, receiver, sweeper)},
		{"two threads", 0, threads(1, 2, nil, sharer, receiver, receiver)},
		{"two threads that hand over", 0, threads(1, 2, nil, twice, receiver, receiver)},
		{"two threads and a taker", 0, threads(1, 2, nil, sharer, forwarder, taker)},
	} {
		exhaust(t, c.name, c.kills, c.build)
	}
}

// TestBrokenVariants: the checks see what they are there for.
func TestBrokenVariants(t *testing.T) {
	unconfirmed := func(p *party) {
		p.join = func(p *Pool, me uint32, i int, gen uint64) (Ref, error) {
			k, err := p.add(i, Held(me, 1))
			if err != nil {
				return Ref{}, err
			}
			if !p.Load(i).is(gen) { // looks, and does not tell
				p.remove(i, k)
				p.free(i)
				return Ref{}, ErrStale
			}
			return Ref{i, k, gen}, nil
		}
	}
	accesstest.Caught(t, "a share that is not confirmed", 0,
		aCase(1, 2, unconfirmed, sharer, receiver))
	looked := func(p *party) {
		p.leave = func(p *Pool, r Ref) bool {
			p.remove(r.Buffer, r.Share)
			for k := range p.each {
				if p.Share(r.Buffer, k) != 0 {
					return false
				}
			}
			s := p.Load(r.Buffer) // after it has looked
			return s.Taken() &&
				access.CAS("free", &p.states[r.Buffer], uint64(s), uint64(s.freed()))
		}
	}
	accesstest.Caught(t, "the state is loaded after the shares", 0,
		aCase(1, 2, looked, sharer, receiver))
	noUndo := func(p *party) {
		p.join = func(p *Pool, me uint32, i int, gen uint64) (Ref, error) {
			k, err := p.add(i, Held(me, 1))
			if err != nil {
				return Ref{}, err
			}
			if !p.confirm(i, gen) {
				p.remove(i, k) // and does not look whether it was the last share
				return Ref{}, ErrStale
			}
			return Ref{i, k, gen}, nil
		}
	}
	accesstest.Caught(t, "a share is removed without a look", 0,
		aCase(1, 2, noUndo, sharer, receiver, taker))
	careless := func(p *party) {
		p.handOver = func(p *Pool, r Ref, ticket, deadline uint32) (int, error) {
			access.Store("send", p.share(r.Buffer, r.Share), uint64(InFlight(ticket, deadline)))
			return r.Share, nil
		}
	}
	accesstest.Caught(t, "a share that is held twice is handed over", 0,
		aCase(1, 2, careless, twice, receiver))
	hasty := func(p *party) {
		p.sweep = func(p *Pool, alive func(uint32) bool, now uint32) {
			for i := range p.states {
				if s := p.Load(i); s.Taken() && !p.anyAlive(i, alive) {
					access.CAS("free", &p.states[i], uint64(s), uint64(s.freed()))
				}
			}
		}
	}
	accesstest.Caught(t, "a sweep that sees no shares in flight", 0,
		aCase(1, 2, hasty, sender, sweeper))
}

func (p *Pool) anyAlive(i int, alive func(uint32) bool) bool {
	for k := range p.each {
		if is := p.Share(i, k); is != 0 && !is.Flies() && alive(is.ID()) {
			return true
		}
	}
	return false
}

// TestScribbled makes calls at a pool whose words are overwritten. Nothing panics, every call
// returns, and a sweep without processes frees everything.
func TestScribbled(t *testing.T) {
	for seed := range uint64(300) {
		scribble(t, seed)
	}
}
