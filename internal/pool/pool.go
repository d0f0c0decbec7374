package pool

import (
	"errors"
	"math"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/step"
)

// Limits of a pool.
const (
	MaxBuffers = 1 << 16
	MaxShares  = 64
	MaxLease   = 24 * 60 * 60 * 1000 // ms until the deadline of a share in flight
)

// Errors of the operations.
var (
	ErrShape   = errors.New("a shape that is not possible")
	ErrStale   = errors.New("the buffer was freed")
	ErrNoShare = errors.New("all shares of the buffer are taken")
)

// Parts are the memory of a pool.
type Parts struct {
	Header *Header
	States []atomic.Uint64 // of each buffer
	Shares []atomic.Uint64 // the same number for each buffer
}

// A Pool counts shares in shared memory. Its methods may be called concurrently.
type Pool struct {
	header *Header
	states []atomic.Uint64
	shares []atomic.Uint64
	each   int // shares of a buffer
}

// New returns a pool over its parts.
func New(p Parts) (*Pool, error) {
	n := len(p.States)
	if p.Header == nil || n < 1 || n > MaxBuffers || len(p.Shares)%n != 0 ||
		len(p.Shares)/n < 1 || len(p.Shares)/n > MaxShares {
		return nil, ErrShape
	}
	return &Pool{header: p.Header, states: p.States, shares: p.Shares, each: len(p.Shares) / n}, nil
}

// Each returns how many shares a buffer can have.
func (p *Pool) Each() int { return p.each }

// Load returns the state of buffer i.
func (p *Pool) Load(i int) State { return State(access.Load("state", &p.states[i])) }

// Share returns share k of buffer i.
func (p *Pool) Share(i, k int) Share { return Share(access.Load("share", p.share(i, k))) }

func (p *Pool) share(i, k int) *atomic.Uint64 { return &p.shares[i*p.each+k] }

// A Ref is a share of the caller.
type Ref struct {
	Buffer int
	Share  int // its number
	Gen    uint64
}

// Take takes a free buffer of those from from on and before to, the first one from start on. It
// reports false if there is none.
func (p *Pool) Take(me uint32, from, to, start int) (r Ref, ok bool) {
	i := start
	for range to - from {
		if i < from || i >= to {
			i = from
		}
		for s := p.Load(i); !s.Taken(); s = p.Load(i) {
			k, err := p.add(i, Held(me, 1))
			if err != nil {
				break
			}
			step.Reach(step.BlobClaimed)
			if access.CAS("take", &p.states[i], uint64(s), uint64(s.taken())) {
				step.Reach(step.BlobTaken)
				return Ref{i, k, s.taken().Gen()}, true
			}
			p.remove(i, k)
			p.free(i)
		}
		i++
	}
	return r, false
}

// AnyFree reports whether one of the buffers is free.
func (p *Pool) AnyFree(from, to int) bool {
	for i := from; i < to; i++ {
		if !p.Load(i).Taken() {
			return true
		}
	}
	return false
}

// add writes a share at a place that has none, and returns its number. A share that is held is
// counted where the attachment has one.
func (p *Pool) add(i int, s Share) (k int, err error) {
	if !s.Flies() {
		for k := range p.each {
			is := p.Share(i, k)
			if is.Flies() || is.ID() != s.ID() || is.Count() == 0 || is.Count() == math.MaxUint32 {
				continue
			}
			if access.CAS("count", p.share(i, k), uint64(is), uint64(is+1)) {
				return k, nil
			}
		}
	}
	for k := range p.each {
		if p.Share(i, k) == 0 && access.CAS("add", p.share(i, k), 0, uint64(s)) {
			return k, nil
		}
	}
	return 0, ErrNoShare
}

// remove undoes add of a share that is held. The caller frees the buffer if it has no share left.
func (p *Pool) remove(i, k int) {
	for {
		is := p.Share(i, k)
		if is == 0 || is.Flies() {
			return // another process has scribbled
		}
		next := is - 1
		if is.Count() <= 1 {
			next = 0
		}
		if access.CAS("remove", p.share(i, k), uint64(is), uint64(next)) {
			return
		}
	}
}

// confirm makes an added share count. It reports false if the buffer was freed before.
func (p *Pool) confirm(i int, gen uint64) bool {
	for {
		s := p.Load(i)
		if !s.is(gen) {
			return false
		}
		if access.CAS("confirm", &p.states[i], uint64(s), uint64(s.joined())) {
			return true
		}
	}
}

// free frees buffer i if it has no share, and reports whether it did.
func (p *Pool) free(i int) bool {
	for {
		s := p.Load(i)
		if !s.Taken() {
			return false
		}
		for k := range p.each {
			if p.Share(i, k) != 0 {
				return false
			}
		}
		if access.CAS("free", &p.states[i], uint64(s), uint64(s.freed())) {
			step.Reach(step.BlobFreed)
			return true
		}
	}
}

// Join adds a share of a buffer that others hold. The errors are ErrStale and ErrNoShare.
func (p *Pool) Join(me uint32, i int, gen uint64) (Ref, error) {
	if !p.Load(i).is(gen) {
		return Ref{}, ErrStale
	}
	k, err := p.add(i, Held(me, 1))
	if err != nil {
		return Ref{}, err
	}
	step.Reach(step.BlobJoining)
	if !p.confirm(i, gen) {
		p.remove(i, k)
		p.free(i)
		return Ref{}, ErrStale
	}
	step.Reach(step.BlobJoined)
	return Ref{i, k, gen}, nil
}

// Leave ends a share of the caller. It reports whether the buffer is free now.
func (p *Pool) Leave(r Ref) (freed bool) {
	p.remove(r.Buffer, r.Share)
	step.Reach(step.BlobLeft)
	return p.free(r.Buffer)
}

// HandOver ends a share of the caller, and leaves one in flight. It returns the number of that.
// After an error, which is ErrNoShare or ErrStale, the caller has its share as before.
func (p *Pool) HandOver(r Ref, ticket, deadline uint32) (k int, err error) {
	flight := InFlight(ticket, deadline)
	for is := p.Share(r.Buffer, r.Share); is.Count() == 1 && !is.Flies(); {
		if access.CAS("send", p.share(r.Buffer, r.Share), uint64(is), uint64(flight)) {
			step.Reach(step.BlobSent)
			return r.Share, nil
		}
		is = p.Share(r.Buffer, r.Share)
	}
	if k, err = p.add(r.Buffer, flight); err != nil {
		return 0, err
	}
	if !p.confirm(r.Buffer, r.Gen) { // only where another process has scribbled
		access.CAS("unsend", p.share(r.Buffer, k), uint64(flight), 0)
		return 0, ErrStale
	}
	step.Reach(step.BlobSent)
	p.Leave(r)
	return k, nil
}

// Accept turns share k of buffer i, which is in flight, into one of the caller. It is ErrStale if
// another process has accepted it, or its deadline has passed and it was removed.
func (p *Pool) Accept(me uint32, i, k int, gen uint64, ticket uint32) (Ref, error) {
	if k >= p.each || !p.Load(i).is(gen) {
		return Ref{}, ErrStale
	}
	is := p.Share(i, k)
	if !is.Flies() || is.ID() != ticket {
		return Ref{}, ErrStale
	}
	mine := Held(me, 1)
	if !access.CAS("accept", p.share(i, k), uint64(is), uint64(mine)) {
		return Ref{}, ErrStale
	}
	// A later share may have had the same ticket.
	if !p.Load(i).is(gen) {
		access.CAS("unaccept", p.share(i, k), uint64(mine), uint64(is))
		return Ref{}, ErrStale
	}
	step.Reach(step.BlobAccepted)
	return Ref{i, k, gen}, nil
}

// Alone reports whether the caller's share is the only one of the buffer, and held once.
func (p *Pool) Alone(r Ref) bool {
	for k := range p.each {
		is := p.Share(r.Buffer, k)
		if k == r.Share && (is.Flies() || is.Count() != 1) || k != r.Share && is != 0 {
			return false
		}
	}
	return true
}

// Swept is what Sweep has done.
type Swept struct {
	Dead    int // shares of dead attachments
	Expired int // shares in flight whose deadline had passed
	Freed   int // buffers
}

// Sweep removes shares of dead attachments and those whose deadline has passed, and frees buffers
// that have none. now is in ms.
func (p *Pool) Sweep(alive func(id uint32) bool, now uint32) (n Swept) {
	for i := range p.states {
		if s := p.sweep(i, alive, now); s != (Swept{}) {
			n.Dead += s.Dead
			n.Expired += s.Expired
			n.Freed += s.Freed
		}
	}
	if n.Dead > 0 {
		access.Add("dead", &p.header.Dead, uint64(n.Dead))
	}
	if n.Expired > 0 {
		access.Add("expired", &p.header.Expired, uint64(n.Expired))
	}
	return n
}

// sweep is Sweep of a buffer.
func (p *Pool) sweep(i int, alive func(id uint32) bool, now uint32) (n Swept) {
	left := false
	for k := range p.each {
		is := p.Share(i, k)
		switch {
		case is == 0:
			continue
		case is.Flies() && is.Expired(now):
			if access.CAS("expire", p.share(i, k), uint64(is), 0) {
				n.Expired++
			}
		case !is.Flies() && !alive(is.ID()):
			if access.CAS("sweep", p.share(i, k), uint64(is), 0) {
				n.Dead++
			}
		default:
			left = true
			continue
		}
		step.Reach(step.BlobSwept)
	}
	if !left && p.free(i) {
		n.Freed++
	}
	return n
}
