// Package calls_test compares calls of package rpc with those over Unix sockets: bytes that are
// written and read, net/rpc and gRPC. The other process echoes the request. The contenders take
// turns in one run:
//
//	cd bench && go test -run xxx -bench . -count 5 ./calls
//
// The names have the size of the request and the number of callers. cpu-ns/op is the processor time
// of both processes. "exchange", "futex" and "channel" are calls by hand: see floor_test.go.
package calls_test

import (
	"context"
	"fmt"
	"io"
	"net"
	netrpc "net/rpc"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

const largest = 1 << 20

var background = context.Background()

func TestMain(m *testing.M) {
	shmemtest.Main(m, shmemtest.Role{Name: "echo", Run: echo, Optional: true},
		shmemtest.Role{Name: "spinner", Run: spinner, Optional: true},
		shmemtest.Role{Name: "handServer", Run: handServer, Optional: true})
}

func check(b testing.TB, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// Echo is a service of net/rpc.
type Echo struct{}

// Echo returns what it gets.
func (Echo) Echo(q, r *[]byte) error { *r = *q; return nil }

// echoService is a service of gRPC.
var echoService = grpc.ServiceDesc{
	ServiceName: "Echo", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(
		_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor,
	) (any, error) {
		q := new(wrapperspb.BytesValue)
		return q, decode(q)
	}}},
}

// echo serves all kinds of calls. Its arguments are the directories of segments and of sockets.
func echo(c *shmemtest.Conn) error {
	dir, sockets := c.Args()[0], c.Args()[1]
	listen := func(name string) (net.Listener, error) {
		return net.Listen("unix", filepath.Join(sockets, name))
	}
	raw, err := listen("socket")
	if err != nil {
		return err
	}
	go echoRaw(raw)
	l, err := listen("net-rpc")
	if err != nil {
		return err
	}
	s := netrpc.NewServer()
	if err := s.Register(Echo{}); err != nil {
		return err
	}
	go s.Accept(l)
	if l, err = listen("grpc"); err != nil {
		return err
	}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(2*largest), grpc.MaxSendMsgSize(2*largest))
	g.RegisterService(&echoService, nil)
	go func() { _ = g.Serve(l) }()
	return rpc.ServeBytes(background, "s", rpc.Sizes{Request: largest, Reply: largest},
		func(_ context.Context, request, reply []byte) ([]byte, error) {
			return append(reply, request...), nil
		}, &rpc.ServeOptions{Dir: dir})
}

func echoRaw(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() { // io.Copy with its fast ways would splice
			_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
		}()
	}
}

// cpuOf returns the processor time of a process in ns; 0 is this one.
func cpuOf(pid int) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(int32(^pid<<3|2), &ts)
	return ts.Nano()
}

// A caller makes one call after the other.
type caller func(q []byte) error

// callersOf are functions that return a caller for requests of a size.
func callersOf(b *testing.B, dir, sockets string) map[string]func(size int) (caller, error) {
	c, err := rpc.DialBytes(background, "s", &rpc.DialOptions{Dir: dir})
	check(b, err)
	b.Cleanup(func() { _ = c.Close() })
	n, err := netrpc.Dial("unix", filepath.Join(sockets, "net-rpc"))
	check(b, err)
	b.Cleanup(func() { _ = n.Close() })
	g, err := grpc.NewClient("unix://"+filepath.Join(sockets, "grpc"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(2*largest),
			grpc.MaxCallSendMsgSize(2*largest)))
	check(b, err)
	b.Cleanup(func() { _ = g.Close() })
	return map[string]func(int) (caller, error){
		"rpc": func(size int) (caller, error) {
			dst := make([]byte, 0, size)
			return func(q []byte) (err error) {
				dst, err = c.Call(background, q, dst[:0])
				return err
			}, nil
		},
		"net-rpc": func(int) (caller, error) {
			var dst []byte
			return func(q []byte) error { return n.Call("Echo.Echo", &q, &dst) }, nil
		},
		"grpc": func(int) (caller, error) {
			return func(q []byte) error {
				return g.Invoke(background, "/Echo/Echo", wrapperspb.Bytes(q), new(wrapperspb.BytesValue))
			}, nil
		},
		"socket": func(size int) (caller, error) {
			conn, err := net.Dial("unix", filepath.Join(sockets, "socket"))
			dst := make([]byte, size)
			return func(q []byte) error {
				if size > 64<<10 { // more than the socket has room for
					go conn.Write(q)
				} else if _, err := conn.Write(q); err != nil {
					return err
				}
				_, err := io.ReadFull(conn, dst)
				return err
			}, err
		},
	}
}

func BenchmarkCalls(b *testing.B) {
	dir, sockets := shmemtest.Dir(b), b.TempDir()
	s := shmemtest.Start(b, "echo", dir, sockets)
	makers := callersOf(b, dir, sockets)
	b.Cleanup(s.Kill) // before the client is closed, which removes the segment
	for _, size := range []int{64, 4 << 10, largest} {
		for _, callers := range []int{1, 32} {
			for _, name := range []string{"rpc", "socket", "net-rpc", "grpc"} {
				b.Run(fmt.Sprintf("%d/%d/%s", size, callers, name), func(b *testing.B) {
					var all []caller
					for range callers {
						c, err := makers[name](size)
						check(b, err)
						all = append(all, c)
					}
					measure(b, s.Pid(), size, all)
				})
			}
			for _, name := range []string{"futex", "channel"} {
				run := byHand[small]
				if size > len(small{}) {
					run = byHand[large]
				}
				b.Run(fmt.Sprintf("%d/%d/%s", size, callers, name), func(b *testing.B) {
					run(b, size, callers, name == "channel")
				})
			}
		}
	}
	b.Run("64/1/exchange", exchange)
}

// measure makes b.N calls in all.
func measure(b *testing.B, pid, size int, all []caller) {
	since := cpuOf(0) + cpuOf(pid)
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, call := range all {
		wg.Go(func() {
			q := make([]byte, size)
			for range (b.N + i) / len(all) {
				if err := call(q); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpuOf(0)+cpuOf(pid)-since)/float64(b.N), "cpu-ns/op")
}
