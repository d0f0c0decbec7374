package ring

import (
	"encoding/binary"

	"github.com/shmembox/shmem/internal/access"
)

// SPSCBytes is an SPSC of messages of any length. A record header of 8 bytes with the length
// precedes each message, and the message is padded to a multiple of 8. A message that does not fit
// before the end of the ring begins at its start, and a header with wrap precedes the unused rest.
// The largest message has half of the ring less a header: it fits wherever the last message ended.
type SPSCBytes struct {
	h    *SPSCHeader
	data []byte
}

const (
	recordSize = 8
	wrap       = ^uint64(0) // a record header: the rest of the ring is unused
)

// NewSPSCBytes returns a ring over h and data, whose length is a multiple of 8.
func NewSPSCBytes(h *SPSCHeader, data []byte) (*SPSCBytes, error) {
	if h == nil || len(data) < 2*recordSize || len(data)%8 != 0 {
		return nil, ErrShape
	}
	return &SPSCBytes{h, data}, nil
}

// Max returns the length of the largest message.
func (r *SPSCBytes) Max() int { return len(r.data)/16*8 - recordSize }

// Len returns the number of bytes that are published and not released, with headers.
func (r *SPSCBytes) Len() int {
	h := r.h.Head.Load()
	return int(min(r.h.Tail.Load()-h, uint64(len(r.data))))
}

// Close is Close of SPSC.
func (r *SPSCBytes) Close() { access.CAS("close", &r.h.Closed, 0, Ended) }

// A ByteSender is the producer's end. One goroutine at a time may use it.
type ByteSender struct {
	s    Sender
	data []byte
	max  int
	size uint64 // reserved bytes, with header and unused rest; 0: none
	skip uint64 // of them the unused rest
	max8 uint64 // of them those for the message
}

// Sender makes self the producer. It returns ErrOccupied if there is a living one.
func (r *SPSCBytes) Sender(self uint32, alive func(uint32) bool) (*ByteSender, error) {
	s, err := (&SPSC{r.h, uint64(len(r.data))}).Sender(self, alive)
	if err != nil {
		return nil, err
	}
	if s.tail%8 != 0 {
		s.Leave()
		return nil, ErrCorrupt
	}
	return &ByteSender{s: *s, data: r.data, max: r.Max()}, nil
}

// Leave frees the end.
func (s *ByteSender) Leave() { s.s.Leave() }

// Reserve finds n successive bytes for a message. The caller writes them, then calls Commit. A
// second Reserve before Commit replaces the first. It returns ErrTooBig, ErrFull, ErrClosed or
// ErrCorrupt.
func (s *ByteSender) Reserve(n int) ([]byte, error) {
	if n < 0 || n > s.max {
		return nil, ErrTooBig
	}
	need := recordSize + round8(uint64(n))
	skip := uint64(0)
	if rest := s.s.n - s.s.i; need > rest {
		skip = rest
	}
	if room := s.s.n - (s.s.tail - s.s.head); room < need+skip {
		room, err := s.s.look()
		if room < need+skip {
			if err == nil {
				err = ErrFull
			}
			return nil, err
		}
	}
	s.size, s.skip, s.max8 = need+skip, skip, uint64(n)
	at := s.s.i
	if skip > 0 {
		at = 0
	}
	return s.data[at+recordSize : at+recordSize+uint64(n) : at+need], nil
}

// Commit makes the first n reserved bytes a message, which the next Publish sends.
func (s *ByteSender) Commit(n int) {
	if s.size == 0 || n < 0 || uint64(n) > s.max8 {
		panic("ring: more committed than reserved")
	}
	at := s.s.i
	if s.skip > 0 {
		binary.NativeEndian.PutUint64(s.data[at:], wrap)
		at = 0
	}
	binary.NativeEndian.PutUint64(s.data[at:], uint64(n))
	s.s.move(int(s.skip + recordSize + round8(uint64(n))))
	s.size = 0
}

// Ahead returns where the next message will begin.
func (s *ByteSender) Ahead() *byte { return &s.data[s.s.i] }

// Publish sends all messages that were committed; see Sender.Publish.
func (s *ByteSender) Publish() { access.Release("send.publish", &s.s.h.Tail, s.s.tail) }

// PublishFence is Publish in one order with all other atomic operations.
func (s *ByteSender) PublishFence() { access.Store("send.publish", &s.s.h.Tail, s.s.tail) }

// A ByteReceiver is the consumer's end. One goroutine at a time may use it.
type ByteReceiver struct {
	c        Receiver
	data     []byte
	max      int
	released uint64 // Head
}

// Receiver makes self the consumer. It returns ErrOccupied if there is a living one.
func (r *SPSCBytes) Receiver(self uint32, alive func(uint32) bool) (*ByteReceiver, error) {
	c, err := (&SPSC{r.h, uint64(len(r.data))}).Receiver(self, alive)
	if err != nil {
		return nil, err
	}
	if c.head%8 != 0 {
		c.Leave()
		return nil, ErrCorrupt
	}
	return &ByteReceiver{c: *c, data: r.data, max: r.Max(), released: c.head}, nil
}

// Leave frees the end.
func (c *ByteReceiver) Leave() { c.c.Leave() }

// Next returns the next message and does not release the one before. The bytes lie in the ring, and
// stay until Release. It returns ErrEmpty, ErrClosed, or ErrCorrupt, after which the next message
// cannot be found.
func (c *ByteReceiver) Next() ([]byte, error) {
	for range 2 { // a header with wrap, then the message
		have := c.c.tail - c.c.head
		if have == 0 {
			var err error
			if have, err = c.c.look(); err != nil {
				return nil, err
			}
			if have%8 != 0 {
				c.c.tail = c.c.head
				return nil, ErrCorrupt
			}
		}
		at, rest := c.c.i, c.c.n-c.c.i
		n := binary.NativeEndian.Uint64(c.data[at:])
		if n == wrap {
			if at == 0 || have < rest {
				return nil, ErrCorrupt
			}
			c.c.move(int(rest))
			continue
		}
		if n > uint64(c.max) || recordSize+round8(n) > min(have, rest) {
			return nil, ErrCorrupt
		}
		c.c.move(int(recordSize + round8(n)))
		return c.data[at+recordSize : at+recordSize+n : at+recordSize+n], nil
	}
	return nil, ErrCorrupt
}

// Ahead returns where the message after that of Next begins, nil if it is not there yet.
func (c *ByteReceiver) Ahead() *byte {
	if c.c.tail == c.c.head {
		return nil
	}
	return &c.data[c.c.i]
}

// Release consumes all messages that Next has returned.
func (c *ByteReceiver) Release() {
	c.released = c.c.head
	access.Release("recv.release", &c.c.h.Head, c.c.head)
}

// ReleaseFence is Release in one order with all other atomic operations.
func (c *ByteReceiver) ReleaseFence() {
	c.released = c.c.head
	access.Store("recv.release", &c.c.h.Head, c.c.head)
}

// Rewind makes Next return the messages again that it has returned and that are not released.
func (c *ByteReceiver) Rewind() {
	c.c.head = c.released
	c.c.i = c.released % c.c.n
}
