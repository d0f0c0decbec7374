package blobgrpc

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of messages that go over the connection
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// Name is the content-subtype of calls whose messages are in frames: any number of fields that are
// in the pool, and the rest of the message, or a handle of it. A server that does not know it
// cannot take a frame for a message, because no message of protocol buffers begins with these
// bytes.
const Name = "shmem-blob"

// The first byte of a frame.
const (
	inline   = 0 // the message follows
	inPart   = 6 // a field follows: its path, its handle, where it begins, its length; and a frame
	byHandle = 7 // a handle of the message follows
)

func init() { encoding.RegisterCodecV2(codec{}) }

// codec writes and reads frames. A message that is to go through a pool is a *Message.
type codec struct {
	// adopt gets what a message uses in place, and reports whether that is held as long as the
	// message is used. nil, or false: the message gets copies.
	adopt func(list []*lent) bool
}

// A Message is what this package gives to gRPC in place of a message that may go through a pool.
type Message struct {
	Value any // the message

	t     *Transport
	frame []byte // if it is in the pool already
}

var (
	errNoMessage = errors.New(
		"blobgrpc: no message of protocol buffers; use another codec for this service")
	errNoFrame = errors.New(
		"blobgrpc: not a frame; both sides need blobgrpc of the same version")
)

func (codec) Name() string { return Name }

// Marshal returns the frame of a message.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*Message); ok {
		frame, err := m.frame, error(nil)
		if frame == nil {
			frame, err = m.t.send(m.Value)
		}
		if frame != nil || err != nil {
			return mem.BufferSlice{mem.SliceBuffer(frame)}, err
		}
		v = m.Value
	}
	data, err := encoding.GetCodecV2("proto").Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(mem.BufferSlice{mem.SliceBuffer{inline}}, data...), nil
}

// Unmarshal reads a frame into a message.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m := messageOf(v)
	if m == nil {
		return fmt.Errorf("%w: %T", errNoMessage, v)
	}
	all := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer all.Free()
	return read(all.ReadOnlyData(), m, c.adopt)
}

func messageOf(v any) proto.Message {
	switch v := v.(type) {
	case protoadapt.MessageV1:
		return protoadapt.MessageV2Of(v)
	case protoadapt.MessageV2:
		return v
	}
	return nil
}
