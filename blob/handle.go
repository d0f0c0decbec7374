package blob

import (
	"encoding"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/shmembox/shmem"
)

// HandleSize is the size of a handle in bytes, in memory and as MarshalBinary writes it.
const HandleSize = 32

// A Handle stands for the bytes of a buffer, in all processes that are attached to its pool. It has
// no pointers, so it can be a part of a type in shared memory, and it is comparable. It can also be
// sent as bytes, as text, and by encoding/gob and encoding/json. The zero Handle stands for
// nothing.
type Handle struct {
	pool   uint64
	gen    uint64 // bits 0 to 39; above them, 1 + the number of a share in flight
	length uint64
	buffer uint32
	ticket uint32 // of the share in flight
}

const genBits = 40

var (
	_ encoding.BinaryAppender    = Handle{}
	_ encoding.BinaryMarshaler   = Handle{}
	_ encoding.BinaryUnmarshaler = (*Handle)(nil)
	_ encoding.TextAppender      = Handle{}
	_ encoding.TextMarshaler     = Handle{}
	_ encoding.TextUnmarshaler   = (*Handle)(nil)
)

// Len returns the number of bytes that the handle stands for. It comes from the sender;
// Pool.Resolve checks it.
func (h Handle) Len() int { return int(h.length) }

// Pool returns Pool.ID of the pool that the handle is one of.
func (h Handle) Pool() uint64 { return h.pool }

// IsZero reports whether h is the zero Handle.
func (h Handle) IsZero() bool { return h == Handle{} }

// flight returns the number of the share in flight.
func (h Handle) flight() (share int, ok bool) {
	n := h.gen >> genBits
	return int(n) - 1, n != 0
}

// AppendBinary appends the 32 bytes of the handle. It never fails.
func (h Handle) AppendBinary(b []byte) ([]byte, error) {
	b = binary.LittleEndian.AppendUint64(b, h.pool)
	b = binary.LittleEndian.AppendUint64(b, h.gen)
	b = binary.LittleEndian.AppendUint64(b, h.length)
	b = binary.LittleEndian.AppendUint32(b, h.buffer)
	return binary.LittleEndian.AppendUint32(b, h.ticket), nil
}

// MarshalBinary returns the 32 bytes of the handle. It never fails.
func (h Handle) MarshalBinary() ([]byte, error) {
	return h.AppendBinary(make([]byte, 0, HandleSize))
}

// UnmarshalBinary sets the handle to what MarshalBinary has returned. It fails unless there are 32
// bytes; whether they are a handle is seen by Pool.Resolve.
func (h *Handle) UnmarshalBinary(b []byte) error {
	if len(b) != HandleSize {
		return &shmem.Error{Op: "blob unmarshal", Err: fmt.Errorf("a handle has %d bytes, not %d",
			HandleSize, len(b))}
	}
	*h = Handle{
		pool: binary.LittleEndian.Uint64(b), gen: binary.LittleEndian.Uint64(b[8:]),
		length: binary.LittleEndian.Uint64(b[16:]), buffer: binary.LittleEndian.Uint32(b[24:]),
		ticket: binary.LittleEndian.Uint32(b[28:]),
	}
	return nil
}

// AppendText appends the handle as 43 characters, which can stand in a URL or a header. It never
// fails.
func (h Handle) AppendText(b []byte) ([]byte, error) {
	bin, _ := h.MarshalBinary()
	return base64.RawURLEncoding.AppendEncode(b, bin), nil
}

// MarshalText returns what AppendText appends. It never fails.
func (h Handle) MarshalText() ([]byte, error) { return h.AppendText(nil) }

// UnmarshalText sets the handle to what MarshalText has returned.
func (h *Handle) UnmarshalText(text []byte) error {
	b, err := base64.RawURLEncoding.AppendDecode(nil, text)
	if err != nil {
		return &shmem.Error{Op: "blob unmarshal", Err: fmt.Errorf("no handle: %w", err)}
	}
	return h.UnmarshalBinary(b)
}

// String returns the handle as text, as MarshalText does.
func (h Handle) String() string {
	text, _ := h.MarshalText()
	return string(text)
}
