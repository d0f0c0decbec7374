package rpc

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/calls"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/internal/wait"
)

// core is what servers and clients have in common.
type core struct {
	stream.Attachment
	l       *layout.Calls
	t       *calls.Table
	header  *calls.Header
	payload []byte
	kinds   []kind
}

// bind lays c over the mapping of a segment.
func (c *core) bind(seg *shmem.Segment, m *mem.Mapping, l *layout.Calls, kinds []kind) error {
	c.Init(seg, m)
	c.l, c.kinds = l, kinds
	t, p, err := stream.CallTable(m, l)
	if err != nil {
		return err
	}
	c.t, c.header, c.payload = t, p.Header, m.Payload()
	return nil
}

// part returns n bytes of slot i.
func (c *core) part(i, at, n int) []byte {
	at += c.l.SlotsAt + i*c.l.Stride
	return c.payload[at : at+n : at+n]
}

func (c *core) request(i int) []byte { return c.part(i, c.l.RequestAt, c.l.Request.Size) }
func (c *core) reply(i int) []byte   { return c.part(i, c.l.ReplyAt, c.l.Reply.Size) }
func (c *core) text(i int) []byte    { return c.part(i, c.l.TextAt, layout.CallText) }

// sweep frees what dead processes have, and wakes who waits for it. The mapping is pinned.
func (c *core) sweep() calls.Swept {
	s := c.t.Sweep(c.AliveOnce())
	if s.Freed > 0 {
		wait.WakeN(c.M, &c.header.FreeArmed, s.Freed)
	}
	if s.Canceled > 0 {
		wait.Wake(c.M, &c.header.CancelArmed)
	}
	return s
}

// serverAlive reports whether a server lives. The mapping is pinned.
func (c *core) serverAlive() bool {
	var room [calls.MaxServers]uint32
	for _, id := range c.t.Servers(room[:0]) {
		if c.Alive(id) {
			return true
		}
	}
	return false
}

// uptime is the clock of deadlines, which is the same in all processes.
func uptime(t time.Time) uint64 { return uint64(max(sys.Uptime(t), 1)) }

// deadlineIn returns when a call gives up; 0: never.
func deadlineIn(ctx context.Context) uint64 {
	if t, ok := ctx.Deadline(); ok {
		return uptime(t)
	}
	return 0
}

// types are those of the requests and replies of a service.
type types struct{ request, reply *format.Type }

func typesOf[Q, R any]() (t types, err error) {
	if t.request, err = valueType(reflect.TypeFor[Q]()); err == nil {
		t.reply, err = valueType(reflect.TypeFor[R]())
	}
	return t, err
}

// valueType returns the schema of a type of requests or replies.
func valueType(t reflect.Type) (*format.Type, error) {
	s, err := format.Of(t)
	if err != nil {
		return nil, err
	}
	if s.Size == 0 {
		return nil, fmt.Errorf("%w: %v has no bytes; use a byte", shmem.ErrBadType, t)
	}
	if path := findShared(s, ""); path != "" {
		return nil, fmt.Errorf("%w: %v%s is an atomic or a lock, which cannot be part of a "+
			"request or reply: these are copies; use a plain number", shmem.ErrBadType, t,
			strings.TrimSuffix(path, " "))
	}
	return s, nil
}

// findShared returns the path of an atomic or a lock in a type; of the type itself it is " ". It is
// "" if there is none.
func findShared(t *format.Type, path string) string {
	switch t.Kind {
	case format.Array:
		return findShared(t.Elem, path+"[]")
	case format.Struct:
		for _, f := range t.Fields {
			if p := findShared(f.Type, path+"."+f.Name); p != "" {
				return p
			}
		}
		return ""
	}
	switch {
	case !t.Atomic && t.Kind != format.Sync:
		return ""
	case path == "":
		return " "
	}
	return path
}

// like returns the function of a stream.Plan that compares a stored type with a service of form and
// types. check compares the options.
func like(form layout.CallForm, want types, check func(*layout.Calls) error) func(
	stored, _ *format.Type) (*format.Type, error) {
	return func(stored, _ *format.Type) (*format.Type, error) {
		is, err := layout.CallsLike(stored, nil, nil)
		if err != nil {
			return nil, err
		}
		if is.Form != form {
			return nil, fmt.Errorf("the service was made by %s, and this is %s", makers[is.Form],
				users[form])
		}
		l, err := layout.CallsLike(stored, want.request, want.reply)
		if err == nil && check != nil {
			err = check(l)
		}
		if err == nil {
			err = differences(is, l)
		}
		if err != nil {
			return nil, err
		}
		return l.Type, nil
	}
}

var (
	makers = [...]string{
		layout.TypedCalls: "Serve", layout.BytesCalls: "ServeBytes",
		layout.StreamCalls: "ServeStream",
	}
	users = [...]string{
		layout.TypedCalls: "Serve or Dial", layout.BytesCalls: "ServeBytes or DialBytes",
		layout.StreamCalls: "ServeStream or DialStream",
	}
)

// differences returns how requests and replies differ from those of the service that is stored.
func differences(is, l *layout.Calls) error {
	var all []error
	for _, d := range append(format.DiffAt("Request", l.Request, is.Request),
		format.DiffAt("Reply", l.Reply, is.Reply)...) {
		all = append(all, errors.New(d.String()))
	}
	return errors.Join(all...)
}

// contextError returns the error of a nil context or one that is done.
func contextError(ctx context.Context) error { return errs.Context(ctx) }
