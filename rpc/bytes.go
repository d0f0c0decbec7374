package rpc

import (
	"context"
	"fmt"
	"math"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/calls"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
)

// Sizes are the largest request and reply of a service in bytes.
type Sizes struct{ Request, Reply int }

// ServeBytes is Serve for requests and replies of any length, up to sizes. The handler gets the
// request, and a reply of no bytes whose capacity is sizes.Reply; both are in shared memory, until
// it returns. It returns the reply, which costs no copy if it was appended to the given one. What
// is in the given one behind its length is of former calls. A larger reply is ErrTooLarge at the
// client.
func ServeBytes(
	ctx context.Context, name string, sizes Sizes,
	handler func(ctx context.Context, request, reply []byte) ([]byte, error), opts *ServeOptions,
) error {
	want, err := sizes.types()
	s, err := newService(ctx, name, layout.BytesCalls, want, err, opts)
	if err != nil {
		return err
	}
	s.M.MarkExposed()
	s.run = func(ctx context.Context, i int, _ calls.Word) error {
		slot := s.t.Slot(i)
		n := slot.Request.Load()
		if n > uint64(s.l.Request.Size) {
			return shmem.ErrCorrupt
		}
		room := s.reply(i)
		r, err := handler(ctx, s.request(i)[:n:n], room[:0])
		if err != nil {
			return err
		}
		if len(r) > len(room) {
			return errReplyTooLarge
		}
		if len(r) > 0 && &r[0] != &room[0] {
			copy(room, r)
		}
		slot.Reply.Store(uint64(len(r)))
		return nil
	}
	return s.serve(ctx)
}

// types returns the types of requests and replies of these sizes.
func (s Sizes) types() (t types, err error) {
	if s.Request < 1 || s.Reply < 1 || s.Request > math.MaxInt/8 || s.Reply > math.MaxInt/8 {
		return t, fmt.Errorf("%w: Sizes %d and %d: must be at least 1", shmem.ErrBadOption,
			s.Request, s.Reply)
	}
	return types{layout.CallBytes(s.Request), layout.CallBytes(s.Reply)}, nil
}

// A BytesClient makes calls of a service of ServeBytes. Its methods are safe for concurrent use. It
// is otherwise as a Client.
type BytesClient struct{ c client }

// DialBytes returns a client of the service of that name, as Dial does, whatever its Sizes are.
func DialBytes(ctx context.Context, name string, opts *DialOptions) (*BytesClient, error) {
	c := new(BytesClient)
	if err := c.c.dial(ctx, name, layout.BytesCalls, types{}, nil, opts); err != nil {
		return nil, err
	}
	return c, nil
}

// Sizes returns the largest request and reply.
func (c *BytesClient) Sizes() Sizes { return Sizes{c.c.l.Request.Size, c.c.l.Reply.Size} }

// Call calls the handler with a copy of the request, and appends the reply to dst. It is otherwise
// as Client.Call. A request that is larger than Sizes is ErrTooLarge.
func (c *BytesClient) Call(ctx context.Context, request, dst []byte) ([]byte, error) {
	if len(request) > c.c.l.Request.Size {
		return dst, c.c.error("rpc call", c.tooLarge(len(request)))
	}
	write := func(b []byte) (int, error) {
		mem.Copy(b[:len(request)], request)
		return len(request), nil
	}
	err := c.CallFunc(ctx, write, func(b []byte) error {
		dst = append(dst, b...)
		return nil
	})
	return dst, err
}

func (c *BytesClient) tooLarge(n int) error {
	return fmt.Errorf("the request is %w: %d bytes, the service takes %d", ErrTooLarge, n,
		c.c.l.Request.Size)
}

// CallFunc calls the handler with a request that write writes, and lets read read the reply. Both
// get shared memory: write that of the largest request, of which it returns the length that counts.
// What it finds there is of former calls. If one of them returns an error CallFunc returns it; if
// it is that of write no call is made. read is not called where there is no reply. Neither of them
// closes the client: Close waits for calls.
func (c *BytesClient) CallFunc(
	ctx context.Context, write func(b []byte) (n int, err error), read func(b []byte) error,
) error {
	p, err := c.c.begin(ctx)
	if err != nil {
		return c.c.error("rpc call", err)
	}
	defer c.c.M.Unpin()
	defer c.c.end(p) // also when write or read panics
	c.c.M.MarkExposed()
	n, err := write(c.c.request(p.slot))
	if err != nil {
		return err
	}
	if n < 0 || n > c.c.l.Request.Size {
		return c.c.error("rpc call", c.tooLarge(n))
	}
	s := c.c.t.Slot(p.slot)
	s.Request.Store(uint64(n))
	if err := c.c.await(ctx, p); err != nil {
		return c.c.error("rpc call", err)
	}
	size := s.Reply.Load()
	if size > uint64(c.c.l.Reply.Size) {
		return c.c.error("rpc call", shmem.ErrCorrupt)
	}
	return read(c.c.reply(p.slot)[:size:size])
}

// Segment returns the segment of the service.
func (c *BytesClient) Segment() *shmem.Segment { return c.c.Segment }

// Name returns the name of the service.
func (c *BytesClient) Name() string { return c.c.Segment.Name() }

// Linked reports whether the name still leads to this service; see shmem.Segment.Linked.
func (c *BytesClient) Linked() bool { return c.c.Segment.Linked() }

// Close ends the attachment, as Client.Close does.
func (c *BytesClient) Close() error { return c.c.Segment.Close() }
