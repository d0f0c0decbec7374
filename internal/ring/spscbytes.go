package ring

import "encoding/binary"

// SPSCBytes is an SPSC of bytes: messages of any length, each behind a record
// header of 8 bytes with its length, rounded up to 8. A message that does not
// fit before the end of the ring starts at its beginning, behind a header
// that says so. A message may have half of the ring, less the header: then it
// fits wherever the one before it ended.
type SPSCBytes struct {
	h    *SPSCHeader
	data []byte
}

const (
	recordSize = 8
	wrap       = ^uint64(0) // in a record header: the rest of the ring is unused
)

// NewSPSCBytes lays a ring over h and data, whose length is a multiple of 8.
func NewSPSCBytes(h *SPSCHeader, data []byte) (*SPSCBytes, error) {
	if h == nil || len(data) < 2*recordSize || len(data)%8 != 0 {
		return nil, ErrShape
	}
	return &SPSCBytes{h, data}, nil
}

// Max is the length of the largest message.
func (r *SPSCBytes) Max() int { return len(r.data)/16*8 - recordSize }

// Len is the number of bytes published and not released, headers included.
func (r *SPSCBytes) Len() int {
	h := r.h.Head.Load()
	return int(min(r.h.Tail.Load()-h, uint64(len(r.data))))
}

// Close is as for SPSC.
func (r *SPSCBytes) Close() { store("close", &r.h.Closed, 1) }

// ByteSender is the producer's end; it belongs to one goroutine at a time.
type ByteSender struct {
	s    Sender
	data []byte
	max  int
	size uint64 // reserved, with header and unused rest; 0: nothing
	skip uint64 // of which unused rest
	max8 uint64 // reserved for the message
}

// Sender makes self the producer. ErrOccupied: there is one, alive.
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

// Leave gives the end free.
func (s *ByteSender) Leave() { s.s.Leave() }

// Reserve finds n bytes in one piece for a message; the caller writes them,
// then calls Commit. A second Reserve before Commit replaces the first.
// ErrTooBig, ErrFull, ErrClosed, ErrCorrupt.
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

// Commit makes the first n of the reserved bytes a message, which is sent by
// the next Publish.
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

// Ahead is where the next message will begin.
func (s *ByteSender) Ahead() *byte { return &s.data[s.s.i] }

// Publish hands all that was committed to the consumer; see Sender.Publish.
func (s *ByteSender) Publish() { release("send.publish", &s.s.h.Tail, s.s.tail) }

// PublishFence is Publish in one order with all other atomic operations.
func (s *ByteSender) PublishFence() { store("send.publish", &s.s.h.Tail, s.s.tail) }

// ByteReceiver is the consumer's end; it belongs to one goroutine at a time.
type ByteReceiver struct {
	c    Receiver
	data []byte
	max  int
}

// Receiver makes self the consumer. ErrOccupied: there is one, alive.
func (r *SPSCBytes) Receiver(self uint32, alive func(uint32) bool) (*ByteReceiver, error) {
	c, err := (&SPSC{r.h, uint64(len(r.data))}).Receiver(self, alive)
	if err != nil {
		return nil, err
	}
	if c.head%8 != 0 {
		c.Leave()
		return nil, ErrCorrupt
	}
	return &ByteReceiver{*c, r.data, r.Max()}, nil
}

// Leave gives the end free.
func (c *ByteReceiver) Leave() { c.c.Leave() }

// Next moves on to the next message, without releasing the one before; the
// bytes lie in the ring and stay until Release. ErrEmpty, ErrClosed. After
// ErrCorrupt there is no way to find the next message.
func (c *ByteReceiver) Next() ([]byte, error) {
	for range 2 { // a header for the wrap, then the message
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

// Ahead is where the message after that of Next begins, if it is there already; nil otherwise.
func (c *ByteReceiver) Ahead() *byte {
	if c.c.tail == c.c.head {
		return nil
	}
	return &c.data[c.c.i]
}

// Release consumes all messages that Next has moved on to.
func (c *ByteReceiver) Release() { release("recv.release", &c.c.h.Head, c.c.head) }

// ReleaseFence is Release in one order with all other atomic operations.
func (c *ByteReceiver) ReleaseFence() { store("recv.release", &c.c.h.Head, c.c.head) }
