package blobgrpc

import (
	"context"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/stats"
)

// inPlace is the codec of a server with Options.InPlace, and its stats.Handler. The codec of a
// server does not know the call of a message, so it leaves what the message uses in arrived. gRPC
// then passes the message to the handler, with the call: in the same goroutine, before any
// interceptor or handler has it. The handler also learns when the reply was sent.
type inPlace struct {
	t       *Transport
	arrived sync.Map // from messages to []*lent
}

func (*inPlace) Name() string { return Name }

// Marshal writes a frame of a *Message, and of all others the message.
func (*inPlace) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*Message); ok {
		return codec{}.Marshal(m)
	}
	return encoding.GetCodecV2("proto").Marshal(v)
}

// Unmarshal reads a frame or a message.
func (p *inPlace) Unmarshal(data mem.BufferSlice, v any) error {
	err := codec{adopt: func(list []*lent) bool {
		p.arrived.Store(v, list)
		return true
	}}.Unmarshal(data, v)
	if err != nil {
		endAll(p.leave(v))
	}
	return err
}

// leave returns what a message uses, once.
func (p *inPlace) leave(v any) []*lent {
	list, _ := p.arrived.LoadAndDelete(v)
	is, _ := list.([]*lent)
	return is
}

// TagRPC gives a call its loans.
func (p *inPlace) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, loansKey{}, &loans{t: p.t, served: true})
}

// HandleRPC is called for each message, and at the end of a call.
func (p *inPlace) HandleRPC(ctx context.Context, s stats.RPCStats) {
	l := loansOf(ctx)
	if l == nil {
		return
	}
	switch s := s.(type) {
	case *stats.Begin:
		l.stream = s.IsClientStream || s.IsServerStream
	case *stats.InPayload:
		l.inbox.renew(p.leave(s.Payload))
	case *stats.End:
		l.release()
	}
}

func (*inPlace) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (*inPlace) HandleConn(context.Context, stats.ConnStats) {}
