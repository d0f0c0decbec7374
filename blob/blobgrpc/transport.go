package blobgrpc

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/shmembox/shmem/blob"
)

// Options of a [Transport]. A nil *Options, and the zero value of each field, is the default.
type Options struct {
	// Threshold is the size in bytes from which on a message goes through the pool. Default:
	// DefaultThreshold. Negative: every message that has bytes.
	Threshold int
	// Lease is how long a message that was sent, and whose receiver has died, keeps its buffer. A
	// receiver that is slower than that gets an error. Default: DefaultLease. It cannot be longer
	// than blob.MaxLease; if it is negative or longer, the default is used.
	Lease time.Duration
	// InPlace says that the requests which a server receives are used in place: their large fields
	// of bytes are memory of the pool, until the reply was sent. A message of a stream is that
	// until the next RecvMsg. Handlers must not write to these fields, and must copy
	// what they keep. Such a server has no codec other than that of protocol buffers. For clients
	// see Transport.Lend.
	InPlace bool
}

// DefaultThreshold and DefaultLease are those of nil Options.
const (
	DefaultThreshold = 32 << 10
	DefaultLease     = 30 * time.Second
)

// A Transport carries large messages of any number of clients and servers of this process through a
// pool. Its methods are safe for concurrent use.
type Transport struct {
	pool      *blob.Pool
	lender    *lender
	id        string // of the pool, in metadata
	threshold int
	lease     time.Duration
	inPlace   bool
	once      sync.Once
}

// metadataKey has the ID of a pool: in a call that of the client, in a header that both have.
const metadataKey = "shmem-blob-pool"

// New returns a Transport through a pool, which the caller closes after the Transport.
func New(pool *blob.Pool, opts *Options) *Transport {
	t := &Transport{
		pool: pool, id: strconv.FormatUint(pool.ID(), 16), threshold: DefaultThreshold,
		lease: DefaultLease,
	}
	if opts != nil && opts.Threshold != 0 {
		t.threshold = max(opts.Threshold, 1)
	}
	if opts != nil && opts.Lease > 0 && opts.Lease <= blob.MaxLease {
		t.lease = opts.Lease
	}
	t.inPlace = opts != nil && opts.InPlace
	t.lender = lenderOf(pool)
	return t
}

// Close makes calls fail that receive a message through the pool from then on. Close clients and
// servers before. It never fails.
func (t *Transport) Close() error {
	t.once.Do(t.lender.drop)
	return nil
}

// DialOptions returns the options of one client. Give them after those of other interceptors, and
// call DialOptions anew for each client. Each client is to have one server at its address, or
// several with the same pool.
func (t *Transport) DialOptions() []grpc.DialOption {
	c := &client{t: t}
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(c.unary), grpc.WithChainStreamInterceptor(c.stream),
	}
}

// ServerOptions returns the options of a server. Give them before those of other interceptors.
func (t *Transport) ServerOptions() []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(t.serveUnary), grpc.ChainStreamInterceptor(t.serveStream),
	}
	if t.inPlace {
		p := &inPlace{t: t}
		opts = append(opts, grpc.ForceServerCodecV2(p), grpc.StatsHandler(p))
	}
	return opts
}

// A client knows whether its server has the same pool.
type client struct {
	t      *Transport
	agreed atomic.Bool // the last server that was asked has it
}

// agrees reports whether a header says that the server has the same pool.
func (c *client) agrees(header metadata.MD) bool {
	return slices.Contains(header.Get(metadataKey), c.t.id)
}

func (c *client) unary(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	ctx = metadata.AppendToOutgoingContext(ctx, metadataKey, c.t.id)
	opts = slices.Clip(opts)
	if c.agreed.Load() {
		var header metadata.MD
		m := req
		p, err := c.t.pack(req)
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		if p != nil {
			defer p.close() // the server has its own shares, or will never have
			frame, err := p.frame(kept)
			if err != nil {
				return status.Error(codes.Internal, err.Error())
			}
			m = &Message{Value: req, frame: frame}
		}
		err = invoke(ctx, method, m, reply, cc,
			append(opts, grpc.Header(&header), grpc.ForceCodecV2(replyCodec(ctx)))...)
		if c.agrees(header) {
			return err
		}
		if err != nil && !unread(err) {
			return err
		}
		c.agreed.Store(false)
		if err == nil {
			return nil
		}
	}
	var header metadata.MD
	err := invoke(ctx, method, req, reply, cc, append(opts, grpc.Header(&header))...)
	if c.agrees(header) {
		c.agreed.Store(true)
	}
	return err
}

// unread reports whether an error is that of a server which could not read the request. The header
// of a server whose interceptors have run says that it was read.
func unread(err error) bool {
	s, ok := status.FromError(err)
	return ok && s.Code() == codes.Internal &&
		strings.HasPrefix(s.Message(), "grpc: failed to unmarshal the received message")
}

// replyCodec returns the codec of a call, whose replies are used in place if its context comes from
// Lend.
func replyCodec(ctx context.Context) codec {
	l := repliesOf(ctx)
	if l == nil {
		return codec{}
	}
	return codec{adopt: l.inbox.addAll}
}

// messagesCodec is replyCodec of a stream. A message ends the loan of the one before.
func messagesCodec(ctx context.Context) codec {
	l := repliesOf(ctx)
	if l == nil {
		return codec{}
	}
	return codec{adopt: l.inbox.sub().renew}
}

func (c *client) stream(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
	open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, metadataKey, c.t.id)
	framed := c.agreed.Load()
	if framed {
		opts = append(slices.Clip(opts), grpc.ForceCodecV2(messagesCodec(ctx)))
	}
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &clientStream{ClientStream: s, c: c, framed: framed}, nil
}

type clientStream struct {
	grpc.ClientStream
	c      *client
	framed bool
	asked  atomic.Bool // the header was looked at
}

// SendMsg sends a message, through the pool if it is large.
func (s *clientStream) SendMsg(m any) error {
	if s.framed {
		m = &Message{Value: m, t: s.c.t}
	}
	return s.ClientStream.SendMsg(m)
}

// RecvMsg receives a message, and learns with the first one whether the server has the pool.
func (s *clientStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if !s.asked.Swap(true) {
		header, _ := s.Header()
		s.c.agreed.Store(s.c.agrees(header))
	}
	return err
}

// offered tells the client that this server has the pool of a call, if it has, and reports whether
// the messages of the call are in frames.
func (t *Transport) offered(ctx context.Context) (framed bool) {
	md, _ := metadata.FromIncomingContext(ctx)
	if !slices.Contains(md.Get(metadataKey), t.id) {
		return false
	}
	if grpc.SetHeader(ctx, metadata.Pairs(metadataKey, t.id)) != nil {
		return false
	}
	for _, content := range md.Get("content-type") {
		if strings.HasSuffix(content, "+"+Name) {
			return true
		}
	}
	return false
}

func (t *Transport) serveUnary(
	ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (any, error) {
	framed := t.offered(ctx)
	reply, err := handle(ctx, req)
	if err == nil && framed && ctx.Err() != nil { // nothing would resolve the handle of the reply
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if err == nil && framed {
		reply = &Message{Value: reply, t: t}
	}
	return reply, err
}

func (t *Transport) serveStream(
	srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler,
) error {
	if !t.offered(s.Context()) {
		return handle(srv, s)
	}
	return handle(srv, &serverStream{s, t})
}

type serverStream struct {
	grpc.ServerStream
	t *Transport
}

// SendMsg sends a message, through the pool if it is large.
func (s *serverStream) SendMsg(m any) error {
	return s.ServerStream.SendMsg(&Message{Value: m, t: s.t})
}
