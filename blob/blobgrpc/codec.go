package blobgrpc

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of messages that go over the connection
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/shmembox/shmem/blob"
)

// Name is the content-subtype of calls whose messages are in frames: a byte that says what comes,
// and the message or a handle. A server that does not know it cannot take a frame for a message,
// because no message of protocol buffers begins with these bytes.
const Name = "shmem-blob"

// The first byte of a frame.
const (
	inline   = 0 // the message follows
	byHandle = 7 // a handle follows
)

func init() { encoding.RegisterCodecV2(codec{}) }

// codec writes and reads frames. A message that is to go through a pool is a *Message.
type codec struct{}

// A Message is what this package gives to gRPC in place of a message that may go through a pool.
type Message struct {
	Value any // the message

	t      *Transport
	handle blob.Handle // where it is already
}

var errNoMessage = errors.New("blobgrpc: no message of protocol buffers")

func (codec) Name() string { return Name }

// Marshal returns the frame of a message.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*Message); ok {
		h := m.handle
		if h.IsZero() {
			h = m.t.send(m.Value)
		}
		if !h.IsZero() {
			frame, err := h.AppendBinary([]byte{byHandle})
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
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m := messageOf(v)
	if m == nil {
		return fmt.Errorf("%w: %T", errNoMessage, v)
	}
	all := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer all.Free()
	b := all.ReadOnlyData()
	switch {
	case len(b) > 0 && b[0] == inline:
		return proto.Unmarshal(b[1:], m)
	case len(b) != 1+blob.HandleSize || b[0] != byHandle:
		return errors.New("blobgrpc: not a frame")
	}
	var h blob.Handle
	if err := h.UnmarshalBinary(b[1:]); err != nil {
		return err
	}
	return receive(h, m)
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

// pools are the pools of all Transports that are open, by ID.
var pools = struct {
	sync.RWMutex
	all map[uint64][]*blob.Pool // guarded by the mutex
}{all: map[uint64][]*blob.Pool{}}

// receive reads a message from where its handle leads.
func receive(h blob.Handle, m proto.Message) error {
	pools.RLock()
	list := pools.all[h.Pool()]
	pools.RUnlock()
	if len(list) == 0 {
		return fmt.Errorf("blobgrpc: %w", blob.ErrOtherPool)
	}
	b, err := list[0].Resolve(h)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	return b.View(func(all []byte) error { return proto.Unmarshal(all, m) })
}

// put writes a message into a buffer. It returns nil if the message is small or no buffer is free,
// and if it cannot be written: gRPC finds the error when it tries.
func (t *Transport) put(v any) *blob.Buffer {
	m := messageOf(v)
	if m == nil {
		return nil
	}
	n := proto.Size(m)
	if n < t.threshold {
		return nil
	}
	b, err := t.pool.TryTake(n)
	if err != nil {
		return nil
	}
	err = b.Update(func(all []byte) error {
		got, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(all[:0], m)
		if err == nil && (len(got) != n || &got[0] != &all[0]) {
			err = errors.New("blobgrpc: the message was changed while it was sent")
		}
		return err
	})
	if err != nil {
		_ = b.Close()
		return nil
	}
	return b
}

// send hands a message over. It returns the zero handle if the message is to go over the
// connection.
func (t *Transport) send(v any) blob.Handle {
	b := t.put(v)
	if b == nil {
		return blob.Handle{}
	}
	h, err := b.HandOver(t.lease)
	if err != nil {
		_ = b.Close()
		return blob.Handle{}
	}
	return h
}

// DefaultThreshold and DefaultLease are those of nil Options.
const (
	DefaultThreshold = 32 << 10
	DefaultLease     = 30 * time.Second
)
