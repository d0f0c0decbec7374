package ring

import (
	"sync/atomic"

	"github.com/shmembox/shmem/internal/access"
)

// SPSCHeader is the shared part of an SPSC or SPSCBytes. All zero is an empty ring. The waiting
// words belong to the caller.
type SPSCHeader struct {
	Tail atomic.Uint64 // positions before it are published
	_    [120]byte
	Head atomic.Uint64 // positions before it are released
	_    [120]byte

	// Seldom written.
	Closed   atomic.Uint64
	Producer atomic.Uint64 // id
	Consumer atomic.Uint64 // id
	_        [104]byte

	SendWait, SendArmed atomic.Uint32
	_                   [120]byte
	RecvWait, RecvArmed atomic.Uint32
	_                   [120]byte
}

// enter makes self the holder of one end of the ring if the end is free or its holder is dead.
func enter(end *atomic.Uint64, self uint32, alive func(uint32) bool) error {
	id := access.Load("enter.look", end)
	if id != 0 && id <= idMask && alive(uint32(id)) ||
		!access.CAS("enter.end", end, id, uint64(self)) {
		return ErrOccupied
	}
	return nil
}

// SPSC is a bounded first-in first-out queue of n slots for one producer and one consumer, which
// may be in two processes.
//
// A message is visible only after Publish, and its slot is free only after Release. So a producer
// that dies before Publish has sent nothing, and the next consumer gets what a dead one has not
// released.
type SPSC struct {
	h *SPSCHeader
	n uint64
}

// NewSPSC returns a ring of n slots over h.
func NewSPSC(h *SPSCHeader, n int) (*SPSC, error) {
	if h == nil || n < 1 {
		return nil, ErrShape
	}
	return &SPSC{h, uint64(n)}, nil
}

// Cap returns the number of slots.
func (r *SPSC) Cap() int { return int(r.n) }

// Len returns the number of messages that are published and not released.
func (r *SPSC) Len() int {
	h := r.h.Head.Load()
	return int(min(r.h.Tail.Load()-h, r.n))
}

// Close ends the stream. The producer calls it after its last Publish. When another caller closes
// the ring, a consumer that has got ErrClosed can miss what the producer publishes at that moment.
func (r *SPSC) Close() { access.CAS("close", &r.h.Closed, 0, Ended) }

// A Sender is the producer's end. One goroutine at a time may use it.
type Sender struct {
	h    *SPSCHeader
	n    uint64
	i    uint64 // slot of tail
	tail uint64
	head uint64 // Head when it was loaded last
	self uint32
}

// Sender makes self the producer. It returns ErrOccupied if there is a living one.
func (r *SPSC) Sender(self uint32, alive func(uint32) bool) (*Sender, error) {
	if err := enter(&r.h.Producer, self, alive); err != nil {
		return nil, err
	}
	s := &Sender{h: r.h, n: r.n, self: self}
	s.tail = access.Load("send.tail", &r.h.Tail)
	s.head = access.Load("send.head", &r.h.Head)
	if s.tail-s.head > r.n {
		s.Leave()
		return nil, ErrCorrupt
	}
	s.i = s.tail % r.n
	return s, nil
}

// Leave frees the end.
func (s *Sender) Leave() { access.CAS("leave", &s.h.Producer, uint64(s.self), 0) }

// Reserve finds up to n successive free slots, at least one: i to i+k-1. A second Reserve finds the
// same slots: only Publish advances.
func (s *Sender) Reserve(n int) (i, k int, err error) {
	room := s.n - (s.tail - s.head)
	if room < uint64(n) {
		if room, err = s.look(); room == 0 {
			return 0, 0, err
		}
	}
	return int(s.i), int(min(uint64(n), room, s.n-s.i)), nil
}

// Next is Reserve of one slot. ok reports whether there is room according to the index loaded last.
func (s *Sender) Next() (i int, ok bool) { return int(s.i), s.tail-s.head < s.n }

// PublishNext publishes the slot of Next.
func (s *Sender) PublishNext() {
	s.tail++
	if s.i++; s.i >= s.n {
		s.i = 0
	}
	access.Release("send.publish", &s.h.Tail, s.tail)
}

// look loads the consumer's index and returns the number of free slots.
func (s *Sender) look() (room uint64, err error) {
	head := access.Load("send.head", &s.h.Head)
	used := s.tail - head
	if used > s.n || head < s.head {
		return 0, ErrCorrupt
	}
	s.head = head
	if access.Load("send.closed", &s.h.Closed) != 0 {
		return 0, ErrClosed
	}
	if used == s.n {
		return 0, ErrFull
	}
	return s.n - used, nil
}

// move advances by k of the slots that Reserve found.
func (s *Sender) move(k int) {
	if k < 0 || uint64(k) > s.n-(s.tail-s.head) {
		panic("ring: more published than reserved")
	}
	s.tail += uint64(k)
	if s.i += uint64(k); s.i >= s.n {
		s.i -= s.n
	}
}

// Publish makes the first k reserved slots messages. A later load of the caller may pass its store:
// a caller that then checks for waiters needs PublishFence, or a fence on the waiters' side.
func (s *Sender) Publish(k int) {
	s.move(k)
	access.Release("send.publish", &s.h.Tail, s.tail)
}

// PublishFence is Publish in one order with all other atomic operations.
func (s *Sender) PublishFence(k int) {
	s.move(k)
	access.Store("send.publish", &s.h.Tail, s.tail)
}

// A Receiver is the consumer's end. One goroutine at a time may use it.
type Receiver struct {
	h    *SPSCHeader
	n    uint64
	i    uint64 // slot of head
	head uint64
	tail uint64 // Tail when it was loaded last
	self uint32
}

// Receiver makes self the consumer. It returns ErrOccupied if there is a living one. Messages that
// a dead consumer has not released are redelivered.
func (r *SPSC) Receiver(self uint32, alive func(uint32) bool) (*Receiver, error) {
	if err := enter(&r.h.Consumer, self, alive); err != nil {
		return nil, err
	}
	c := &Receiver{h: r.h, n: r.n, self: self}
	c.head = access.Load("recv.head", &r.h.Head)
	c.tail = access.Load("recv.tail", &r.h.Tail)
	if c.tail-c.head > r.n {
		c.Leave()
		return nil, ErrCorrupt
	}
	c.i = c.head % r.n
	return c, nil
}

// Leave frees the end.
func (c *Receiver) Leave() { access.CAS("leave", &c.h.Consumer, uint64(c.self), 0) }

// Peek finds up to n successive messages, at least one, in slots i to i+k-1. Only Release advances.
func (c *Receiver) Peek(n int) (i, k int, err error) {
	have := c.tail - c.head
	if have < uint64(n) {
		if have, err = c.look(); have == 0 {
			return 0, 0, err
		}
	}
	return int(c.i), int(min(uint64(n), have, c.n-c.i)), nil
}

// Next is Peek of one message. ok reports whether there is one.
func (c *Receiver) Next() (i int, ok bool) {
	if c.tail == c.head {
		if _, err := c.look(); err != nil {
			return 0, false
		}
	}
	return int(c.i), true
}

// Far reports whether there are messages beyond the next Ahead ones.
func (c *Receiver) Far() bool { return c.tail-c.head > Ahead }

// ReleaseNext releases the message of Next.
func (c *Receiver) ReleaseNext() {
	c.head++
	if c.i++; c.i >= c.n {
		c.i = 0
	}
	access.Release("recv.release", &c.h.Head, c.head)
}

// look loads the producer's index and returns the number of messages.
func (c *Receiver) look() (have uint64, err error) {
	tail := access.Load("recv.tail", &c.h.Tail)
	if tail == c.head && access.Load("recv.closed", &c.h.Closed) != 0 {
		// The producer closes after its last message, so look once more.
		if tail = access.Load("recv.tail", &c.h.Tail); tail == c.head {
			return 0, ErrClosed
		}
	}
	if tail-c.head > c.n || tail < c.tail {
		return 0, ErrCorrupt
	}
	if c.tail = tail; tail == c.head {
		return 0, ErrEmpty
	}
	return tail - c.head, nil
}

func (c *Receiver) move(k int) {
	if k < 0 || uint64(k) > c.tail-c.head {
		panic("ring: more released than there was")
	}
	c.head += uint64(k)
	if c.i += uint64(k); c.i >= c.n {
		c.i -= c.n
	}
}

// Release consumes the first k messages. About waiters see Publish.
func (c *Receiver) Release(k int) {
	c.move(k)
	access.Release("recv.release", &c.h.Head, c.head)
}

// ReleaseFence is Release in one order with all other atomic operations.
func (c *Receiver) ReleaseFence(k int) {
	c.move(k)
	access.Store("recv.release", &c.h.Head, c.head)
}
