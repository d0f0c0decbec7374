package rpc_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	shmrpc "github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "echo", Run: echoServer, Optional: true}) }

// Echo is a service of net/rpc.
type Echo struct{}

// Echo returns what it gets.
func (Echo) Echo(q, r *[]byte) error { *r = *q; return nil }

// echoServer serves the echoes of BenchmarkCall.
func echoServer(c *shmemtest.Conn) error {
	dir := c.Args()[0]
	sockets := c.Args()[1]
	raw, err := net.Listen("unix", filepath.Join(sockets, "raw"))
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := raw.Accept()
			if err != nil {
				return
			}
			go io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
		}
	}()
	server := rpc.NewServer()
	if err := server.Register(Echo{}); err != nil {
		return err
	}
	l, err := net.Listen("unix", filepath.Join(sockets, "netrpc"))
	if err != nil {
		return err
	}
	go server.Accept(l)
	return shmrpc.ServeBytes(background, "s", shmrpc.Sizes{Request: 1 << 20, Reply: 1 << 20},
		func(_ context.Context, request, reply []byte) ([]byte, error) {
			return append(reply, request...), nil
		}, &shmrpc.ServeOptions{Dir: dir})
}

// cpuOf returns the processor time of a process in ns.
func cpuOf(pid int) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(int32(^pid<<3|2), &ts)
	return ts.Nano()
}

// BenchmarkCall echoes bytes from another process, beside a Unix socket and net/rpc. It reports the
// processor time of both processes.
func BenchmarkCall(b *testing.B) {
	dir := shmemtest.Dir(b)
	sockets := b.TempDir()
	s := shmemtest.Start(b, "echo", dir, sockets)
	c, err := shmrpc.DialBytes(background, "s", &shmrpc.DialOptions{Dir: dir})
	check(b, err)
	defer c.Close() // the last one removes the segment
	defer s.Kill()
	netClient, err := rpc.Dial("unix", filepath.Join(sockets, "netrpc"))
	check(b, err)
	defer netClient.Close()
	for _, size := range []int{64, 4 << 10, 1 << 20} {
		for _, callers := range []int{1, 32} {
			for name, caller := range map[string]func() func([]byte) error{
				"rpc": func() func([]byte) error {
					var dst []byte
					return func(q []byte) (err error) {
						dst, err = c.Call(background, q, dst[:0])
						return err
					}
				},
				"socket": func() func([]byte) error {
					conn, err := net.Dial("unix", filepath.Join(sockets, "raw"))
					check(b, err)
					b.Cleanup(func() { _ = conn.Close() })
					dst := make([]byte, size)
					return func(q []byte) error {
						if size > 64<<10 { // more than the socket has room for
							go conn.Write(q)
						} else if _, err := conn.Write(q); err != nil {
							return err
						}
						_, err := io.ReadFull(conn, dst)
						return err
					}
				},
				"netrpc": func() func([]byte) error {
					var dst []byte
					return func(q []byte) error { return netClient.Call("Echo.Echo", &q, &dst) }
				},
			} {
				b.Run(fmt.Sprintf("%s/%d/%d", name, size, callers), func(b *testing.B) {
					var calls []func([]byte) error
					for range callers {
						calls = append(calls, caller())
					}
					cpu := cpuOf(0) + cpuOf(s.Pid())
					b.ResetTimer()
					var wg sync.WaitGroup
					for i, call := range calls {
						wg.Go(func() {
							q := make([]byte, size)
							for range (b.N + i) / callers {
								check(b, call(q))
							}
						})
					}
					wg.Wait()
					b.StopTimer()
					b.ReportMetric(float64(cpuOf(0)+cpuOf(s.Pid())-cpu)/float64(b.N), "cpu-ns/op")
				})
			}
		}
	}
}
