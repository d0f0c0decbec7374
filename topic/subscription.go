package topic

import (
	"context"
	"io"
	"iter"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

var errClosed = shmem.ErrClosed

// A Start says where a subscription begins.
type Start struct {
	oldest, after bool
	seq           uint64
}

// Where a subscription begins.
var (
	Now    = Start{}             // with the next message that is published
	Oldest = Start{oldest: true} // with the oldest message that is kept
)

// After is the start behind the message with that sequence number: what was published since and is kept no longer
// counts as lost. Behind a number that the topic has not reached yet it is Now: sequence numbers are of one topic, and
// begin anew where it is removed and created anew (shmem.Stat tells when it was created).
func After(seq uint64) Start { return Start{after: true, seq: seq} }

// A Subscription is a subscription, for one goroutine at a time. It ends with its topic.
type Subscription[T any] struct {
	t     *Topic[T]
	past  *ring.Cursor // messages from before hold, nil when they are all read
	cur   *ring.Cursor
	until uint64 // where past ends
	ready func() bool
	at    uint64 // position that ready looks at
	lost  uint64
	seq   uint64
	any   bool // seq counts
	held  bool
	shut  bool
}

// Subscribe begins to listen. In a topic with Options.Holds publishers wait for this subscription from now on: it
// loses nothing that is published after Subscribe has returned. ErrNoHold: Options.Holds subscribers are there.
// ErrClosed; ErrReadOnly in a topic with Hold. A topic without Hold can be listened to by who is attached read-only;
// he looks for messages every 1 to 50 ms.
func (t *Topic[T]) Subscribe(from Start) (*Subscription[T], error) {
	if !t.m.Pin() {
		return nil, shmem.ErrClosed
	}
	defer t.m.Unpin()
	s := &Subscription[T]{t: t}
	pos := t.ring.Now()
	switch {
	case from.after:
		pos = min(from.seq+1, pos)
	case from.oldest:
		pos = t.ring.Oldest()
	}
	if t.ring.Holds() == 0 {
		s.cur = t.ring.From(pos)
	} else {
		if !t.writes() {
			return nil, shmem.ErrReadOnly
		}
		cur, err := t.ring.Hold(t.self)
		if err != nil && t.repair() {
			cur, err = t.ring.Hold(t.self)
		}
		if err != nil {
			return nil, ErrNoHold
		}
		step.Reach(step.TopicHeld)
		wait.Wake(t.m, &t.h.SendArmed) // until now the cursor of him who had this hold before counted
		s.cur, s.held = cur, true
		if from != Now && pos < cur.Pos() {
			s.past, s.until = t.ring.From(pos), cur.Pos()
		}
	}
	s.ready = func() bool { return t.ring.CanNext(s.at) }
	return s, nil
}

// Close ends the subscription. A second Close returns nil.
func (s *Subscription[T]) Close() error {
	if s.shut || !s.t.m.Pin() {
		return nil
	}
	defer s.t.m.Unpin()
	s.shut = true
	s.cur.Leave()
	if s.held {
		step.Reach(step.TopicLeft)
		wait.Wake(s.t.m, &s.t.h.SendArmed)
	}
	return nil
}

// Lost is how many messages this subscription has lost so far because it was too slow.
func (s *Subscription[T]) Lost() uint64 { return s.lost }

// Seq is the sequence number of the message that was received last. They begin with 0, and a number may be left
// out where a publisher died or gave up.
func (s *Subscription[T]) Seq() (seq uint64, ok bool) { return s.seq, s.any }

// Recv receives the next message, and waits until there is one. The errors are io.EOF when the topic has ended and
// nothing is left, the context's, ErrClosed, and ErrCorrupt. The context counts only where Recv has to wait.
//
// A publisher that dies in the middle of its message is found after 100 ms at most, and Recv goes on with the next
// one.
func (s *Subscription[T]) Recv(ctx context.Context) (v T, err error) {
	for try := 0; ; try++ {
		err = s.recv(ctx, func(pos uint64) error { s.t.load(pos, &v); return nil })
		if err != ErrLost {
			break
		}
		// Publishers may be faster for ever.
		if ctx == nil {
			if try == patience {
				err = ErrEmpty
				break
			}
		} else if err = ctx.Err(); err != nil {
			break
		}
	}
	if err != nil {
		var none T
		return none, err
	}
	return v, nil
}

// TryRecv is Recv that returns ErrEmpty where Recv would wait.
func (s *Subscription[T]) TryRecv() (T, error) { return s.Recv(nil) }

// RecvFunc receives a message that f reads in its place in the topic, without a copy. With ErrLost the message
// was overwritten while f looked at it: what it saw can be a mixture, and counts for nothing. In a topic with
// Options.Holds that cannot happen, but with old messages from before the subscription. If f fails the message is not
// received and comes again, unless it is lost. The pointer is not to be used after f, nor written to. The errors
// are those of f and of Recv.
func (s *Subscription[T]) RecvFunc(ctx context.Context, f func(*T) error) error {
	return s.recv(ctx, func(pos uint64) error {
		if robust.RaceEnabled { // see PublishFunc
			var v T
			s.t.load(pos, &v)
			return f(&v)
		}
		return f(&s.t.items[s.t.ring.Index(pos)].Value)
	})
}

func (s *Subscription[T]) recv(ctx context.Context, read func(pos uint64) error) error {
	t := s.t
	if s.shut || !t.m.Pin() {
		return shmem.ErrClosed
	}
	defer t.m.Unpin()
	pos, err := s.next(ctx)
	if err != nil {
		return err
	}
	if err := read(pos); err != nil {
		return err
	}
	step.Reach(step.TopicRead)
	if s.cursor().Done() != nil {
		return ErrLost
	}
	if robust.RaceEnabled {
		robust.Acquired(t.object(), &t.h.RecvArmed)
	}
	t.readBy(s.cursor())
	s.seq, s.any = pos, true
	if s.held {
		step.Reach(step.TopicTold)
		wait.Wake(t.m, &t.h.SendArmed)
	}
	return nil
}

// cursor is the one that is read by.
func (s *Subscription[T]) cursor() *ring.Cursor {
	if s.past != nil {
		return s.past
	}
	return s.cur
}

// next finds the next message. A nil context means not to wait.
func (s *Subscription[T]) next(ctx context.Context) (pos uint64, err error) {
	t := s.t
	var tried tries
	for try := 0; ; try++ {
		if s.past != nil && s.past.Pos() >= s.until {
			s.past = nil
		}
		c := s.cursor()
		pos, lost, err := c.Next()
		if s.past != nil && c.Pos() >= s.until {
			// What was lost or skipped led beyond the old ones; from there on nothing is.
			s.lose(lost - min(lost, c.Pos()-s.until))
			s.past = nil
			continue
		}
		s.lose(lost)
		switch err {
		case nil:
			return pos, nil
		case ring.ErrClosed:
			return 0, io.EOF
		case ring.ErrEmpty, ring.ErrHeld:
			if ctx == nil {
				if err == ring.ErrHeld && try == 0 && (t.lookNow() || c.PassDead(t.alive)) {
					continue
				}
				if s.held {
					wait.Wake(t.m, &t.h.SendArmed) // as in wait
				}
				return 0, ErrEmpty
			}
			if err := s.wait(ctx, c); err != nil {
				return 0, err
			}
		case ring.ErrBusy:
			if ctx == nil {
				return 0, ErrEmpty
			}
		default:
			return 0, t.corrupt(err)
		}
		if err := t.again(ctx, &tried); err != nil {
			return 0, err
		}
	}
}

// lose counts what was overwritten before it was read.
func (s *Subscription[T]) lose(n uint64) {
	if n == 0 {
		return
	}
	s.lost += n
	if s.t.writes() {
		s.t.h.Lost.Add(n)
	}
}

// wait waits until there is something to be looked at.
func (s *Subscription[T]) wait(ctx context.Context, c *ring.Cursor) error {
	t := s.t
	come := c.Pos() - s.at
	s.at = c.Pos()
	if s.held {
		wait.Wake(t.m, &t.h.SendArmed) // what was skipped need not be held any more
	}
	wait.Rest(come, t.Cap())
	o := wait.Options{
		Look: func() bool { return t.repair() || !t.writes() && c.PassDead(t.alive) },
		Poll: !t.writes(),
	}
	if id := t.ring.Holder(s.at); id != 0 {
		o.Watch = []format.ID{format.ID(id)}
	}
	return wait.Until(ctx, t.m, &t.h.RecvArmed, s.ready, o)
}

// All receives until the topic ends, or until there is an error, which is the last that is yielded.
func (s *Subscription[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := s.Recv(ctx)
			if err == io.EOF || !yield(v, err) || err != nil {
				return
			}
		}
	}
}
