package blobgrpc_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/shmembox/shmem/blob"
	"github.com/shmembox/shmem/blob/blobgrpc"
	"github.com/shmembox/shmem/shmemtest"
)

func TestMain(m *testing.M) {
	shmemtest.Main(m, shmemtest.Role{Name: "server", Run: serverRole},
		shmemtest.Role{Name: "client", Run: clientRole})
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type message = wrapperspb.BytesValue

// echo is a service with a call that returns its request, and one that does so with a stream.
var echo = grpc.ServiceDesc{
	ServiceName: "test.Echo", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(
		srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor,
	) (any, error) {
		q := new(message)
		if err := decode(q); err != nil {
			return nil, err
		}
		handle := func(ctx context.Context, q any) (any, error) { return srv.(*server).echo(ctx, q.(*message)) }
		if intercept == nil {
			return handle(ctx, q)
		}
		return intercept(ctx, q, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/test.Echo/Echo"}, handle)
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Chat", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error {
			for {
				m := new(message)
				if err := s.RecvMsg(m); err != nil {
					return nil //nolint:nilerr // the client has ended the stream
				}
				if err := s.SendMsg(m); err != nil {
					return err
				}
			}
		}}},
}

type server struct {
	calls atomic.Int64
	reply func(ctx context.Context, q *message) (*message, error) // nil: q
}

func (s *server) echo(ctx context.Context, q *message) (*message, error) {
	s.calls.Add(1)
	if s.reply != nil {
		return s.reply(ctx, q)
	}
	if string(q.Value) == "fail" {
		return nil, status.Error(codes.Internal, "failed on request")
	}
	return q, nil
}

// serve serves on a socket in a directory. t is nil for a server without a pool.
func serve(dir string, t *blobgrpc.Transport) (*server, func(), error) {
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		return nil, nil, err
	}
	opts := []grpc.ServerOption{grpc.MaxRecvMsgSize(64 << 20)}
	if t != nil {
		opts = append(opts, t.ServerOptions()...)
	}
	g, s := grpc.NewServer(opts...), new(server)
	g.RegisterService(&echo, s)
	go func() { _ = g.Serve(l) }()
	return s, g.Stop, nil
}

// dial returns a client of the server on the socket in a directory. t is nil for one without a
// pool.
func dial(dir string, t *blobgrpc.Transport) (*grpc.ClientConn, error) {
	opts := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.WaitForReady(true))}
	if t != nil {
		opts = append(opts, t.DialOptions()...)
	}
	return grpc.NewClient("unix://"+filepath.Join(dir, "s"), opts...)
}

func open(dir, name string) (*blob.Pool, error) {
	return blob.Open(name, &blob.Options{
		Dir: dir, Classes: []blob.Class{{Size: 65 << 10, Count: 8}, {Size: 1025 << 10, Count: 4}},
	})
}

// side is a pool and a transport of this process, until the test ends.
func side(t testing.TB, dir, name string) (*blob.Pool, *blobgrpc.Transport) {
	t.Helper()
	p, err := open(dir, name)
	check(t, err)
	tr := blobgrpc.New(p, nil)
	t.Cleanup(func() {
		check(t, tr.Close())
		check(t, p.Close())
	})
	return p, tr
}

// call makes a call with n bytes, and checks the reply.
func call(c *grpc.ClientConn, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	q, r := &message{Value: payload(n)}, new(message)
	if err := c.Invoke(ctx, "/test.Echo/Echo", q, r); err != nil {
		return err
	}
	if !bytes.Equal(q.Value, r.Value) {
		return fmt.Errorf("%d bytes came back as %d others", n, len(r.Value))
	}
	return nil
}

var counter atomic.Int64

// payload returns n bytes that differ from call to call.
func payload(n int) []byte {
	b := bytes.Repeat(fmt.Appendf(nil, "%d.%d ", os.Getpid(), counter.Add(1)), n/4+1) // at least 4 bytes
	return b[:n]
}

// uses is how many buffers were taken and how many are in use.
func uses(p *blob.Pool) (taken uint64, used int) {
	for _, c := range p.Stats().Classes {
		taken += c.Taken
		used += c.Used
	}
	return taken, used
}

var background = context.Background()

// waitUnused waits until no buffer is in use: a server ends a call after its reply was sent.
func waitUnused(t *testing.T, p *blob.Pool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		_, used := uses(p)
		if used == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d buffers in use", used)
		}
	}
}

// took checks how many buffers calls have taken, and that none is in use.
func took(t *testing.T, p *blob.Pool, want uint64, calls func()) {
	t.Helper()
	before, _ := uses(p)
	calls()
	after, _ := uses(p)
	if after-before != want {
		t.Errorf("%d buffers taken, want %d", after-before, want)
	}
	waitUnused(t, p)
}

// TestUnary: the first call agrees, and from then on large messages go through the pool.
func TestUnary(t *testing.T) {
	dir := shmemtest.Dir(t)
	p, tr := side(t, dir, "p")
	s, stop, err := serve(dir, tr)
	check(t, err)
	defer stop()
	c, err := dial(dir, tr)
	check(t, err)
	defer c.Close()
	took(t, p, 0, func() { check(t, call(c, 100_000)) })
	for _, n := range []int{0, 1, 31 << 10} {
		took(t, p, 0, func() { check(t, call(c, n)) })
	}
	for _, n := range []int{33 << 10, 65 << 10, 1 << 20} {
		took(t, p, 2, func() { check(t, call(c, n)) })
	}
	took(t, p, 0, func() { check(t, call(c, 3<<20)) }) // larger than a buffer
	var all []*blob.Buffer
	for range 12 {
		b, err := p.TryTake(1)
		check(t, err)
		all = append(all, b)
	}
	check(t, call(c, 1<<20)) // the pool is full
	for _, b := range all {
		check(t, b.Close())
	}
	before := s.calls.Load()
	err = c.Invoke(context.Background(), "/test.Echo/Echo", &message{Value: []byte("fail")}, new(message))
	if status.Code(err) != codes.Internal || s.calls.Load() != before+1 {
		t.Errorf("%v after %d calls", err, s.calls.Load()-before)
	}
	took(t, p, 2, func() { check(t, call(c, 1<<20)) })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if err := call(c, 40_000); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, used := uses(p); used != 0 {
		t.Errorf("%d in use", used)
	}
}

// TestWithout: where one side has no pool, or another one, all messages go over the connection.
func TestWithout(t *testing.T) {
	for _, kind := range []string{"client", "server", "other"} {
		t.Run(kind, func(t *testing.T) {
			dir := shmemtest.Dir(t)
			p, clients := side(t, dir, "p")
			_, servers := side(t, dir, "p")
			switch kind {
			case "client":
				clients = nil
			case "server":
				servers = nil
			default:
				_, servers = side(t, dir, "q")
			}
			_, stop, err := serve(dir, servers)
			check(t, err)
			defer stop()
			c, err := dial(dir, clients)
			check(t, err)
			defer c.Close()
			took(t, p, 0, func() {
				for range 3 {
					check(t, call(c, 1<<20))
				}
			})
		})
	}
}

// TestRestart: a server that comes back without the pool, or with another one, gets the call that
// it could not read once more, and runs its handler once.
func TestRestart(t *testing.T) {
	dir := shmemtest.Dir(t)
	_, tr := side(t, dir, "p")
	_, other := side(t, dir, "q")
	s, stop, err := serve(dir, tr)
	check(t, err)
	c, err := dial(dir, tr)
	check(t, err)
	defer c.Close()
	for _, next := range []*blobgrpc.Transport{nil, tr, other, tr} {
		err := call(c, 1<<20)
		for status.Code(err) == codes.Unavailable { // over the old connection
			err = call(c, 1<<20)
		}
		check(t, err)
		for range 2 {
			check(t, call(c, 1<<20))
		}
		if n := s.calls.Load(); n != 3 {
			t.Errorf("the handler ran %d times", n)
		}
		stop()
		s, stop, err = serve(dir, next)
		check(t, err)
	}
	stop()
}

// TestStream: large messages of a stream go through the pool both ways.
func TestStream(t *testing.T) {
	dir := shmemtest.Dir(t)
	p, tr := side(t, dir, "p")
	_, stop, err := serve(dir, tr)
	check(t, err)
	defer stop()
	c, err := dial(dir, tr)
	check(t, err)
	defer c.Close()
	chat := func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s, err := c.NewStream(ctx, &echo.Streams[0], "/test.Echo/Chat")
		check(t, err)
		for _, n := range []int{10, 100_000, 1 << 20, 20} {
			q, r := &message{Value: payload(n)}, new(message)
			check(t, s.SendMsg(q))
			check(t, s.RecvMsg(r))
			if !bytes.Equal(q.Value, r.Value) {
				t.Errorf("%d bytes came back as %d others", n, len(r.Value))
			}
		}
		check(t, s.CloseSend())
	}
	took(t, p, 0, chat)
	took(t, p, 4, chat)
}

// serverRole serves until it is killed.
func serverRole(c *shmemtest.Conn) error {
	p, err := open(c.Args()[0], "p")
	if err != nil {
		return err
	}
	_, _, err = serve(c.Args()[0], blobgrpc.New(p, &blobgrpc.Options{
		Lease: time.Second, InPlace: true,
	}))
	if err != nil {
		return err
	}
	c.Send("ready")
	select {}
}

// clientRole makes calls until it is killed. A server that dies makes some of them fail.
func clientRole(c *shmemtest.Conn) error {
	p, err := open(c.Args()[0], "p")
	if err != nil {
		return err
	}
	tr := blobgrpc.New(p, &blobgrpc.Options{Lease: time.Second})
	conn, err := dial(c.Args()[0], tr)
	if err != nil {
		return err
	}
	c.Send("ready")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				err := call(conn, 1000+i%3*100_000)
				if i%2 == 0 {
					err = lentCall(tr, conn, 1000+i%3*100_000)
				}
				if s, ok := status.FromError(err); err != nil && (!ok || s.Code() != codes.Unavailable) {
					c.Send("error %q", err)
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.New("a call has failed")
}

// kills is how often TestKilled kills. CI has few of them.
var kills = flag.Int("kills", 6, "how many processes TestKilled kills")

// lentCall makes a call in place, and checks the reply.
func lentCall(tr *blobgrpc.Transport, conn *grpc.ClientConn, n int) error {
	ctx, cancel := context.WithTimeout(background, 20*time.Second)
	defer cancel()
	ctx, release := tr.Lend(ctx)
	defer release()
	q, r := bytesOf(ctx, n), new(message)
	want := bytes.Clone(q.Value) // the reply is the memory of the request
	if err := conn.Invoke(ctx, "/test.Echo/Echo", q, r); err != nil {
		return err
	}
	if !bytes.Equal(want, r.Value) {
		return fmt.Errorf("%d bytes came back as %d others", n, len(r.Value))
	}
	return nil
}

// TestKilled kills servers and clients under load. All buffers are free again when all are dead.
func TestKilled(t *testing.T) {
	dir := shmemtest.Dir(t)
	p, err := open(dir, "p")
	check(t, err)
	defer p.Close()
	start := func(role string) *shmemtest.Child {
		if role == "server" {
			_ = os.Remove(filepath.Join(dir, "s")) // a killed server leaves its socket
		}
		c := shmemtest.Start(t, role, dir)
		c.Expect(t, "ready")
		return c
	}
	s, c := start("server"), start("client")
	for i := range *kills {
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		if i%2 == 0 {
			s.Kill()
			s = start("server")
		} else {
			c.Kill()
			c = start("client")
		}
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if taken, _ := uses(p); taken >= 20 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("only %d buffers were taken", taken)
		}
	}
	if err := c.Stop(); err != nil { // one that has found something has ended
		line, _ := c.Recv()
		t.Errorf("%v: %s", err, line)
	}
	c.Kill()
	s.Kill()
	_ = os.Remove(filepath.Join(dir, "s"))
	taken, used := uses(p)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for range 12 {
		b, err := p.Take(ctx, 1)
		check(t, err)
		defer b.Close()
	}
	t.Logf("%d buffers taken, %d in use after the last deaths: %+v", taken, used, p.Stats())
}
