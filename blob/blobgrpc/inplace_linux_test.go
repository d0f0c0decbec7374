package blobgrpc_test

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shmembox/shmem/blob"
	"github.com/shmembox/shmem/blob/blobgrpc"
	"github.com/shmembox/shmem/shmemtest"
)

// inPlaceSide is a pool, a client that has agreed with its server, and a server with InPlace.
func inPlaceSide(t *testing.T) (*blob.Pool, *blobgrpc.Transport, *grpc.ClientConn, *server) {
	t.Helper()
	dir := shmemtest.Dir(t)
	p, err := open(dir, "p")
	check(t, err)
	tr := blobgrpc.New(p, &blobgrpc.Options{
		InPlace: true,
		Lease:   time.Second, // of a reply whose client has just left
	})
	s, stop, err := serve(dir, tr)
	check(t, err)
	c, err := dial(dir, tr)
	check(t, err)
	check(t, call(c, 1))
	t.Cleanup(func() {
		check(t, c.Close())
		stop()
		check(t, tr.Close())
		check(t, p.Close())
	})
	return p, tr, c, s
}

const big = 100_000

// bytesOf is a message whose bytes are in the pool, if ctx has a loan.
func bytesOf(ctx context.Context, n int) *message {
	m := &message{Value: blobgrpc.Bytes(ctx, n)}
	copy(m.Value, payload(n))
	return m
}

// same reports whether both slices are the same memory.
func same(a, b []byte) bool { return len(a) == len(b) && &a[0] == &b[0] }

// TestInPlace: a client fills a buffer, the handler gets it and returns it, and the client gets it
// back, without a copy.
func TestInPlace(t *testing.T) {
	p, tr, c, s := inPlaceSide(t)
	var seen []byte
	s.reply = func(_ context.Context, q *message) (*message, error) {
		seen = q.Value
		return q, nil
	}
	took(t, p, 1, func() {
		ctx, release := tr.Lend(background)
		defer release()
		q, r := bytesOf(ctx, big), new(message)
		check(t, c.Invoke(ctx, "/test.Echo/Echo", q, r))
		if !same(q.Value, seen) || !same(q.Value, r.Value) {
			t.Error("copied")
		}
		// A part of what came is sent as it is, too.
		part := &message{Value: r.Value[100 : 100+50_000]}
		check(t, c.Invoke(ctx, "/test.Echo/Echo", part, r))
		if !same(part.Value, r.Value) {
			t.Error("copied")
		}
	})
	s.reply = func(ctx context.Context, q *message) (*message, error) {
		r := &message{Value: blobgrpc.Bytes(ctx, len(q.Value))}
		copy(r.Value, q.Value)
		return r, nil
	}
	took(t, p, 2, func() { // its reply is a copy, which the client owns
		check(t, call(c, big))
	})
	took(t, p, 0, func() {
		for _, n := range []int{0, 1, 3 << 20} { // small, and larger than a buffer
			ctx, release := tr.Lend(background)
			q, r := bytesOf(ctx, n), new(message)
			check(t, c.Invoke(ctx, "/test.Echo/Echo", q, r))
			if !bytes.Equal(q.Value, r.Value) {
				t.Errorf("%d other bytes", n)
			}
			release()
			if !bytes.Equal(q.Value, r.Value) {
				t.Errorf("%d other bytes", n)
			}
		}
	})
}

// TestHandlerFails: what a handler got is released when the call is over, however it ends.
func TestHandlerFails(t *testing.T) {
	p, _, c, s := inPlaceSide(t)
	s.reply = func(ctx context.Context, q *message) (*message, error) {
		bytesOf(ctx, big)
		return nil, status.Error(codes.NotFound, "no")
	}
	took(t, p, 2, func() {
		if err := call(c, big); status.Code(err) != codes.NotFound {
			t.Error(err)
		}
		waitUnused(t, p)
	})
	s.reply = func(ctx context.Context, q *message) (*message, error) {
		<-ctx.Done()
		return q, nil
	}
	for limit, before := 20*time.Millisecond, s.calls.Load(); ; limit *= 2 { // until a handler has the call
		taken, _ := uses(p)
		ctx, cancel := context.WithTimeout(background, limit)
		err := c.Invoke(ctx, "/test.Echo/Echo", &message{Value: payload(big)}, new(message))
		cancel()
		if status.Code(err) != codes.DeadlineExceeded {
			t.Fatal(err)
		}
		waitUnused(t, p)
		if s.calls.Load() > before {
			if now, _ := uses(p); now-taken != 1 {
				t.Errorf("%d buffers taken, want 1", now-taken)
			}
			break
		}
	}
}

// TestReleased: bytes that are sent after their release are an error, and those that are kept can
// be read without a fault.
func TestReleased(t *testing.T) {
	p, tr, c, _ := inPlaceSide(t)
	ctx, release := tr.Lend(background)
	q, r := bytesOf(ctx, big), new(message)
	check(t, c.Invoke(ctx, "/test.Echo/Echo", q, r))
	release()
	release()
	err := c.Invoke(ctx, "/test.Echo/Echo", &message{Value: r.Value}, new(message))
	if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "released") {
		t.Error(err)
	}
	_ = bytes.Count(r.Value, []byte("x"))
	took(t, p, 2, func() { // the loan is over: what comes is copied
		q, r := bytesOf(ctx, big), new(message)
		check(t, c.Invoke(ctx, "/test.Echo/Echo", q, r))
		if !bytes.Equal(q.Value, r.Value) {
			t.Error("other bytes")
		}
	})
}

// TestLentFull: while no buffer is free a call goes over the connection.
func TestLentFull(t *testing.T) {
	p, tr, c, s := inPlaceSide(t)
	s.reply = func(ctx context.Context, q *message) (*message, error) {
		r := &message{Value: blobgrpc.Bytes(ctx, len(q.Value))}
		copy(r.Value, q.Value)
		return r, nil
	}
	var all []*blob.Buffer
	for free := 12; free > 0; free-- {
		for len(all) < 12-free {
			b, err := p.TryTake(1)
			check(t, err)
			all = append(all, b)
		}
		ctx, release := tr.Lend(background)
		for range 5 { // 10 buffers in all
			q, r := bytesOf(ctx, 60_000), new(message)
			check(t, c.Invoke(ctx, "/test.Echo/Echo", q, r))
			if !bytes.Equal(q.Value, r.Value) {
				t.Error("other bytes")
			}
		}
		release()
	}
	for _, b := range all {
		check(t, b.Close())
	}
	waitUnused(t, p)
}

// TestOneSideInPlace: either side can use messages in place alone.
func TestOneSideInPlace(t *testing.T) {
	dir := shmemtest.Dir(t)
	p, tr := side(t, dir, "p") // the server copies
	_, stop, err := serve(dir, tr)
	check(t, err)
	defer stop()
	c, err := dial(dir, tr)
	check(t, err)
	defer c.Close()
	check(t, call(c, 1))
	took(t, p, 2, func() {
		ctx, release := tr.Lend(background)
		defer release()
		q, r := bytesOf(ctx, big), new(message)
		check(t, c.Invoke(ctx, "/test.Echo/Echo", q, r))
		if same(q.Value, r.Value) || !bytes.Equal(q.Value, r.Value) {
			t.Error("not a copy")
		}
	})
	p, _, c, s := inPlaceSide(t) // the client copies
	var seen []byte
	s.reply = func(_ context.Context, q *message) (*message, error) {
		seen = q.Value
		return q, nil
	}
	took(t, p, 1, func() {
		r := new(message)
		check(t, c.Invoke(background, "/test.Echo/Echo", &message{Value: payload(big)}, r))
		if same(seen, r.Value) || !bytes.Equal(seen, r.Value) {
			t.Error("not a copy")
		}
	})
}

// TestPassedOn: a handler asks another server, and returns what that has replied.
func TestPassedOn(t *testing.T) {
	p, tr, c, s := inPlaceSide(t)
	back := shmemtest.Dir(t)
	_, stop, err := serve(back, tr)
	check(t, err)
	defer stop()
	next, err := dial(back, tr)
	check(t, err)
	defer next.Close()
	check(t, call(next, 1))
	s.reply = func(ctx context.Context, q *message) (*message, error) {
		ctx, release := tr.Lend(ctx)
		defer release()
		r := new(message)
		return r, next.Invoke(ctx, "/test.Echo/Echo", q, r)
	}
	took(t, p, 1, func() {
		ctx, release := tr.Lend(background)
		defer release()
		q, r := bytesOf(ctx, big), new(message)
		check(t, c.Invoke(ctx, "/test.Echo/Echo", q, r))
		if !same(q.Value, r.Value) {
			t.Error("copied")
		}
	})
}

// TestStreamInPlace: a message of a stream is lent until the next one.
func TestStreamInPlace(t *testing.T) {
	p, tr, c, _ := inPlaceSide(t)
	ctx, release := tr.Lend(background)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.NewStream(ctx, &echo.Streams[0], "/test.Echo/Chat")
	check(t, err)
	for i := range 30 { // more than there are buffers
		one, release := tr.Lend(background)
		q, r := bytesOf(one, big), new(message)
		check(t, s.SendMsg(q))
		check(t, s.RecvMsg(r))
		if !same(q.Value, r.Value) {
			t.Fatalf("message %d was copied", i)
		}
		release()
	}
	check(t, s.CloseSend())
	release()
	if err := s.RecvMsg(new(message)); err == nil {
		t.Error("no end")
	}
	waitUnused(t, p)
}

// TestCrowdInPlace: many callers at once, some of which leave before the reply comes.
func TestCrowdInPlace(t *testing.T) {
	p, tr, c, s := inPlaceSide(t)
	s.reply = func(ctx context.Context, q *message) (*message, error) {
		r := &message{Value: blobgrpc.Bytes(ctx, len(q.Value))}
		copy(r.Value, q.Value)
		return r, nil
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 40 {
				ctx, release := tr.Lend(background)
				ctx, cancel := context.WithCancel(ctx)
				if i%4 == 0 && k%2 == 0 {
					go cancel()
				}
				q, r := bytesOf(ctx, 40_000+i*5000), new(message)
				err := c.Invoke(ctx, "/test.Echo/Echo", q, r)
				if err == nil && !bytes.Equal(q.Value, r.Value) {
					t.Error("other bytes")
				} else if err != nil && status.Code(err) != codes.Canceled {
					t.Error(err)
				}
				cancel()
				release()
			}
		})
	}
	wg.Wait()
	takeAll(t, p)
}

// takeAll takes every buffer of a pool. A reply whose client left as it was sent keeps its buffer for
// Options.Lease: Take finds that the lease has ended.
func takeAll(t *testing.T, p *blob.Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(background, 20*time.Second)
	defer cancel()
	n := 0
	for _, c := range p.Stats().Classes {
		n += c.Count
	}
	for i := range n {
		b, err := p.Take(ctx, 1)
		if err != nil {
			t.Fatalf("%d of %d buffers taken: %v", i, n, err)
		}
		defer b.Close()
	}
}

// TestInterceptorInFront: one that rejects calls before those of this package leaves nothing in use.
func TestInterceptorInFront(t *testing.T) {
	dir := shmemtest.Dir(t)
	p, err := open(dir, "p")
	check(t, err)
	defer p.Close()
	tr := blobgrpc.New(p, &blobgrpc.Options{InPlace: true})
	defer tr.Close()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	check(t, err)
	front := func(
		ctx context.Context, q any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler,
	) (any, error) {
		switch n := len(q.(*message).Value); {
		case n == big+1:
			return nil, status.Error(codes.PermissionDenied, "no")
		case n == big+2:
			return &message{Value: q.(*message).Value}, nil
		}
		return next(ctx, q)
	}
	g := grpc.NewServer(append([]grpc.ServerOption{grpc.ChainUnaryInterceptor(front)}, tr.ServerOptions()...)...)
	g.RegisterService(&echo, new(server))
	go func() { _ = g.Serve(l) }()
	defer g.Stop()
	c, err := dial(dir, tr)
	check(t, err)
	defer c.Close()
	check(t, call(c, 1))
	for range 15 { // more than there are buffers
		took(t, p, 1, func() {
			if err := call(c, big+1); status.Code(err) != codes.PermissionDenied {
				t.Error(err)
			}
			waitUnused(t, p)
			check(t, call(c, 1)) // agree again
		})
		check(t, call(c, big+2))
		check(t, call(c, 1))
		waitUnused(t, p)
	}
}
