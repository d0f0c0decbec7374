package topic

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/stream"
)

// A Start says where a subscription begins: Now, Oldest, Last or After. Whatever it asks for, a
// subscription begins with the oldest message that is kept at the earliest, and with the next one
// that is published at the latest.
type Start struct{ start stream.Start }

// Where a subscription begins.
var (
	Now    = Start{}                           // with the next message that is published
	Oldest = Start{stream.Start{Oldest: true}} // with the oldest message that is kept
)

// Last returns the start with the newest n messages that are there, or with all that are kept if
// there are fewer. With n of 0 or less it equals Now.
func Last(n int) Start { return Start{stream.Start{Last: uint64(max(n, 0))}} }

// After returns the start behind the message with sequence number seq. Messages published since
// then that are no longer kept count as lost. If seq has not been published yet, After(seq) equals
// Now. A seq of 2^63 or more is what a subtraction below 0 gives: it stands before the first
// message, so that After(seq - n) is right for every n.
//
// Sequence numbers belong to one topic. They begin anew when the topic is removed and created
// again; shmem.Stat tells when it was created.
func After(seq uint64) Start { return Start{stream.Start{After: true, Seq: seq}} }

// A Delivery says what a subscription does when publishers are faster than it. Each subscription of
// a topic has its own.
type Delivery int

const (
	// Hold holds publishers back: they wait for this subscription, and it loses no message that is
	// published after Subscribe returns. The topic must have a free hold (Options.Holds).
	Hold = Delivery(stream.Hold)
	// NoHold lets publishers go on. The subscription loses the oldest messages when it is more than
	// the topic's capacity behind; Lost counts them.
	NoHold = Delivery(stream.NoHold)
	// Newest lets publishers go on, and receives the newest message only: a receiving call waits
	// until there is a message that is newer than the last one, and skips what came between. That
	// does not count as lost.
	Newest = Delivery(stream.Newest)
)

// A Subscription receives the messages of a topic, for one goroutine at a time, except for Close.
// It ends with its topic.
type Subscription[T any] struct {
	t    *Topic[T]
	core *stream.Subscription
}

// Subscribe makes a subscription. how is one Delivery or none. None, and a Delivery of 0, is Hold
// in a topic with Options.Holds, else NoHold.
//
// A subscription with Hold holds publishers back until it is closed, or its process dies: after at
// most 100 ms publishers go on, and Stats.Released counts it. A process that is stopped is alive,
// and so is one that does not receive: publishers wait for as long as their context says, and
// Stats.Slowest is its slot. Subscriptions with NoHold or Newest go on meanwhile with what was
// published.
//
// A read-only attachment can subscribe with NoHold and Newest; it polls every 1 to 50 ms. The
// errors are ErrNoHold, ErrClosed, ErrReadOnly of Hold, and shmem.ErrBadOption.
func (t *Topic[T]) Subscribe(from Start, how ...Delivery) (*Subscription[T], error) {
	core, err := subscribe(t.core, from, how)
	if err != nil {
		return nil, err
	}
	return &Subscription[T]{t, core}, nil
}

func subscribe(t *stream.Topic, from Start, how []Delivery) (*stream.Subscription, error) {
	var all [2]stream.Delivery
	n := min(len(how), len(all))
	for i := range n {
		all[i] = stream.Delivery(how[i])
	}
	return t.Subscribe(from.start, all[:n]...)
}

// Recv receives the next message, and blocks until there is one. The errors are io.EOF when the
// topic has ended and no message is left, ErrUnlinked likewise, the context's, ErrClosed and
// ErrCorrupt.
//
// A publisher that dies in the middle of its message is found after at most 100 ms; Recv skips its
// slot then.
func (s *Subscription[T]) Recv(ctx context.Context) (v T, err error) {
	if err := s.core.Recv(ctx, mem.Bytes(&v)); err != nil {
		var none T
		return none, err
	}
	return v, nil
}

// TryRecv is Recv that returns ErrEmpty where Recv would block.
func (s *Subscription[T]) TryRecv() (T, error) { return s.Recv(stream.Try{}) }

// Wait waits until Recv has a message or io.EOF to return, and receives nothing. It makes the
// subscription a shmem.Waitable. The errors are those of Recv, without io.EOF.
func (s *Subscription[T]) Wait(ctx context.Context) error { return s.core.Wait(ctx) }

// RecvFunc receives a message that f reads in place, without a copy. If f fails or panics the
// message is not received: the next call gets it again, unless it is lost by then. The pointer must
// not be used after f, and f must not write to it.
//
// ErrLost says that publishers overwrote the message while f read it: f may have seen a mixture of
// two messages. In a topic with Options.Holds that happens only to messages from before the
// subscription. The other errors are f's, as it is, and those of Recv.
func (s *Subscription[T]) RecvFunc(ctx context.Context, f func(*T) error) error {
	return s.core.RecvFunc(ctx, func(pos uint64) error {
		if !robust.RaceEnabled {
			return f(s.t.inPlace(pos))
		}
		var v T // see PublishFunc
		s.t.core.Load(pos, mem.Bytes(&v))
		return f(&v)
	})
}

// All receives messages until the topic ends. It looks at ctx before every message. An error is the
// last that it yields, with the zero value of T.
func (s *Subscription[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := s.next(ctx)
			if err == io.EOF || !yield(v, err) || err != nil {
				return
			}
		}
	}
}

func (s *Subscription[T]) next(ctx context.Context) (v T, err error) {
	if err := stream.Context(ctx); err != nil {
		return v, s.core.Errors().Of(err)
	}
	return s.Recv(ctx)
}

// Lost returns how many messages were overwritten before this subscription received them.
func (s *Subscription[T]) Lost() uint64 { return s.core.Lost() }

// Seq returns the sequence number of the message that was received last; ok is false if there is
// none. The first message of a topic has number 0. A number is left out where a publisher died or
// gave up.
func (s *Subscription[T]) Seq() (seq uint64, ok bool) { return s.core.Seq() }

// Time returns when the message that was received last was published, by the wall clock of the
// publisher's process when it had written the message. Inside the function of a RecvFunc it is that
// of the message that the function reads. It is the zero time if there is none, or in a topic
// without Options.Stamped. A clock that is set can make later messages earlier.
func (s *Subscription[T]) Time() time.Time { return s.core.Time() }

// Close ends the subscription; publishers no longer wait for it. Any goroutine may call it. A Recv
// that waits in another one returns ErrClosed, and so do later calls. Close does not wait for a
// call in flight: the function of a RecvFunc may call it, and goes on; publishers go on when that
// call returns. A second Close returns nil.
func (s *Subscription[T]) Close() error {
	s.core.Close()
	return nil
}
