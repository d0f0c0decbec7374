package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/anytopic"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
)

// Where Follow begins, besides a sequence number.
const (
	FromNow    uint64 = math.MaxUint64     // with the next message that is published
	FromOldest uint64 = math.MaxUint64 - 1 // with the oldest that is kept
)

// A Message is one message of a topic.
type Message struct {
	Seq   uint64    // its number in the topic, from 0; one that is left out was given up, or lost
	Time  time.Time // when it was seen
	Value Value     // valid until the next call of Next
}

// A Follower reads the messages of a topic as they come, without knowing their Go type. It takes no
// slot and no lock, holds no publisher back and cannot be woken: it looks for messages every 1 to
// 50 ms. It is for one goroutine, and ends with its Segment.
type Follower struct {
	s    *Observer
	m    *mem.Mapping
	t    *anytopic.Topic
	c    *ring.Cursor
	buf  []byte
	lost uint64
}

// MessageType is the type of a topic's messages; nil if the segment is no topic.
func (s *Observer) MessageType() *Type {
	if layout.Stream(s.t) != layout.TopicName {
		return nil
	}
	return typeOf(layout.Item(s.t))
}

// Follow begins to read a topic at a sequence number; what is kept no longer counts as lost. A
// segment that is no topic is shmem.ErrMismatch.
func (s *Observer) Follow(from uint64) (*Follower, error) {
	fail := func(err error) (*Follower, error) {
		return nil, &shmem.Error{Op: "follow", Name: s.info.Name, Err: err}
	}
	if s.m == nil || !s.m.Pin() {
		return fail(shmem.ErrClosed)
	}
	defer s.m.Unpin()
	t, err := anytopic.Of(s.m, s.t)
	if err != nil {
		return fail(fmt.Errorf("%w: %v", shmem.ErrMismatch, err))
	}
	f := &Follower{s: s, m: s.m, t: t, buf: make([]byte, t.Item.Size)}
	fault := s.m.Guard(func() {
		if from == FromOldest {
			from = t.Ring.Oldest()
		}
		f.c = t.Ring.From(from)
	})
	if fault != nil {
		return fail(&shmem.FaultError{Name: s.info.Path, Addr: fault.Addr, Err: fault.Err})
	}
	return f, nil
}

// Seq is the number of the message that is looked for next.
func (f *Follower) Seq() uint64 { return f.c.Pos() }

// Lost is how many messages were overwritten before they could be read.
func (f *Follower) Lost() uint64 { return f.lost }

const (
	firstPause, lastPause = time.Millisecond, 50 * time.Millisecond
	deadAfter             = 100 * time.Millisecond // a publisher may take that long over a message before he is looked at
	goneAfter             = time.Second            // and a topic be silent before its name is
)

// Next is the next message, and waits until there is one. The errors are io.EOF when the topic has
// ended; fs.ErrNotExist when nobody is attached and nobody can be, so that nothing can come any
// more; the context's; shmem.ErrClosed, shmem.ErrCorrupt and shmem.ErrFault.
func (f *Follower) Next(ctx context.Context) (Message, error) {
	pause, idle, looked := firstPause, time.Time{}, time.Time{}
	for {
		msg, err := f.try(!idle.IsZero() && time.Since(idle) > deadAfter)
		if err != errNothing {
			return msg, err
		}
		now := time.Now()
		if idle.IsZero() {
			idle, looked = now, now
		}
		if now.Sub(looked) > goneAfter {
			looked = now
			if f.s.Refresh() == nil && len(f.s.info.Peers) == 0 && (f.s.info.State == shmem.Garbage || !f.s.Linked() && !f.s.info.Readers) {
				return Message{}, &shmem.Error{Op: "follow", Name: f.s.info.Name, Err: fmt.Errorf("%w any more: nobody is attached, and nobody can be", fs.ErrNotExist)}
			}
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		case <-ctx.Done():
			return Message{}, ctx.Err()
		}
	}
}

// Try is Next that does not wait; ok is false where Next would.
func (f *Follower) Try() (msg Message, ok bool, err error) {
	msg, err = f.try(false)
	if err == errNothing {
		return Message{}, false, nil
	}
	return msg, err == nil, err
}

var errNothing = errors.New("nothing there")

func (f *Follower) try(passDead bool) (msg Message, err error) {
	if !f.m.Pin() {
		return msg, &shmem.Error{Op: "follow", Name: f.s.info.Name, Err: shmem.ErrClosed}
	}
	defer f.m.Unpin()
	fault := f.m.Guard(func() { msg, err = f.next(passDead) })
	if fault != nil {
		err = &shmem.Error{Op: "follow", Name: f.s.info.Name, Err: &shmem.FaultError{Name: f.s.info.Path, Addr: fault.Addr, Err: fault.Err}}
	}
	return msg, err
}

func (f *Follower) next(passDead bool) (Message, error) {
	for range 1000 { // publishers may be faster than this loop
		pos, lost, err := f.c.Next()
		f.lost += lost
		switch err {
		case nil:
			f.t.Load(pos, f.buf)
			if f.c.Done() != nil {
				continue // overwritten meanwhile, which Next counts
			}
			return Message{pos, time.Now(), Value{f.t.Item, f.buf, 0, nil}}, nil
		case ring.ErrHeld:
			alive := func(id uint32) bool { return f.m.Peers != nil && f.m.Peers.Alive(format.ID(id)) }
			if passDead && f.c.PassDead(alive) {
				continue
			}
			return Message{}, errNothing
		case ring.ErrEmpty, ring.ErrBusy:
			return Message{}, errNothing
		case ring.ErrClosed:
			return Message{}, io.EOF
		}
		return Message{}, &shmem.Error{Op: "follow", Name: f.s.info.Name, Err: fmt.Errorf("%w: %v", shmem.ErrCorrupt, err)}
	}
	return Message{}, errNothing
}
