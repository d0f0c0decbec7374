//go:build linux

// Blob compares ways to echo a large message between two processes: gRPC over a Unix socket, with
// its messages in the socket and in a pool of package blob; bytes in a socket; a memfd for each
// message, whose descriptor goes over a socket; and a handle of a pool over a socket. They take
// turns in one run:
//
//	cd bench && go run ./blob
//
// Each side ends with the message in memory of its own, and makes the next one from there; in place
// the server reads it where it is, and either writes its reply beside it or passes the message on.
// Beside them is gRPC with 64 bytes, which no form of it can be less than. CPU is that of both
// processes. The numbers are medians of the rounds; the ratios, to gRPC in the same
// round, too.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/shmembox/shmem/blob"
	"github.com/shmembox/shmem/blob/blobgrpc"
)

var (
	size   = flag.Int("size", 1<<20, "bytes of a message")
	calls  = flag.Int("calls", 100, "calls of each contender in a round")
	rounds = flag.Int("rounds", 9, "rounds")
	serve  = flag.String("serve", "", "directory: be the other process")
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func get[T any](v T, err error) T {
	must(err)
	return v
}

// A contender echoes a message once.
type contender struct {
	name string
	echo func(q []byte) (r []byte)
}

func main() {
	flag.Parse()
	if *serve != "" {
		other(*serve)
	}
	dir := get(os.MkdirTemp("/dev/shm", "bench-blob-"))
	defer os.RemoveAll(dir)
	pool := open(dir)
	defer pool.Close()
	child := exec.Command(get(os.Executable()), "-serve", dir, "-size", fmt.Sprint(*size))
	child.Stderr = os.Stderr
	ready := get(child.StdoutPipe())
	must(child.Start())
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	_ = get(io.ReadFull(ready, make([]byte, 5)))

	all := contenders(dir, pool)
	q := make([]byte, *size)
	for i := range q {
		q[i] = byte(i * 7 >> 3)
	}
	for _, c := range all { // also lets gRPC agree on the pool
		for range 3 {
			if !bytes.Equal(c.echo(q), q) {
				panic(c.name + ": other bytes came back")
			}
		}
	}
	wall, cpu := make([][]float64, len(all)), make([][]float64, len(all))
	for range *rounds {
		for i, c := range all {
			t, u := time.Now(), cpuOf(0)+cpuOf(child.Process.Pid)
			for range *calls {
				c.echo(q)
			}
			per := 1000 * float64(*calls)
			wall[i] = append(wall[i], float64(time.Since(t).Nanoseconds())/per)
			cpu[i] = append(cpu[i], float64(cpuOf(0)+cpuOf(child.Process.Pid)-u)/per)
		}
	}
	fmt.Printf("echo of %d bytes, %d rounds of %d calls, one caller\n", *size, *rounds, *calls)
	fmt.Printf("%-28s %10s %10s %12s %12s\n", "", "wall µs", "CPU µs", "wall / gRPC", "CPU / gRPC")
	for i, c := range all {
		fmt.Printf("%-28s %10.0f %10.0f %12.2f %12.2f\n", c.name, median(wall[i]), median(cpu[i]),
			median(ratios(wall[i], wall[0])), median(ratios(cpu[i], cpu[0])))
	}
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

func ratios(a, b []float64) (list []float64) {
	for i := range a {
		list = append(list, a[i]/b[i])
	}
	return list
}

// cpuOf is the processor time of a process in ns; 0 is this one.
func cpuOf(pid int) int64 {
	clock := int32(unix.CLOCK_PROCESS_CPUTIME_ID)
	if pid != 0 {
		clock = ^int32(pid)<<3 | 2
	}
	var t unix.Timespec
	must(unix.ClockGettime(clock, &t))
	return t.Nano()
}

func open(dir string) *blob.Pool {
	return get(blob.Open("pool", &blob.Options{
		Dir: dir, Classes: []blob.Class{{Size: *size + 1<<10, Count: 8}},
	}))
}

func contenders(dir string, pool *blob.Pool) []contender {
	return []contender{
		{"gRPC", grpcEcho(dir, "grpc", nil)},
		{"gRPC with blob", grpcEcho(dir, "grpc-blob", blobgrpc.New(pool, nil))},
		{"gRPC with blob, in place", lentEcho(dir, "grpc-lent", pool)},
		{"the same, passed on", passedEcho(dir, "grpc-passed", pool)},
		{"gRPC, 64 bytes", smallEcho(dir, "grpc-small")},
		{"Unix socket", socketEcho(dial(dir, "socket"))},
		{"Unix socket, a memfd each", memfdEcho(dial(dir, "memfd"))},
		{"Unix socket, a blob.Handle", handleEcho(dial(dir, "handle"), pool)},
	}
}

// other is the process that echoes.
func other(dir string) {
	pool := open(dir)
	serveGRPC(dir, "grpc", nil)
	serveGRPC(dir, "grpc-blob", blobgrpc.New(pool, nil))
	serveGRPC(dir, "grpc-lent", blobgrpc.New(pool, &blobgrpc.Options{InPlace: true}))
	serveGRPC(dir, "grpc-passed", blobgrpc.New(pool, &blobgrpc.Options{InPlace: true}))
	serveGRPC(dir, "grpc-small", nil)
	for name, echo := range map[string]func(*net.UnixConn){
		"socket": func(c *net.UnixConn) {
			b := make([]byte, *size)
			for {
				_ = get(io.ReadFull(c, b))
				_ = get(c.Write(b))
			}
		},
		"memfd": func(c *net.UnixConn) {
			b := make([]byte, *size)
			for {
				receiveFD(c, b)
				sendFD(c, b)
			}
		},
		"handle": func(c *net.UnixConn) {
			b := make([]byte, *size)
			for {
				receiveHandle(c, pool, b)
				sendHandle(c, pool, b)
			}
		},
	} {
		l := get(net.ListenUnix("unix", address(dir, name)))
		go func() { echo(get(l.AcceptUnix())) }()
	}
	fmt.Println("ready")
	select {}
}

func address(dir, name string) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, name+".sock")}
}

func dial(dir, name string) *net.UnixConn {
	return get(net.DialUnix("unix", nil, address(dir, name)))
}

var service = grpc.ServiceDesc{
	ServiceName: "Echo", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(
		_ any, ctx context.Context, decode func(any) error, chain grpc.UnaryServerInterceptor,
	) (any, error) {
		q := new(wrapperspb.BytesValue)
		if err := decode(q); err != nil || chain == nil {
			return q, err
		}
		return chain(ctx, q, new(grpc.UnaryServerInfo),
			func(ctx context.Context, q any) (any, error) {
				return reply(ctx, q.(*wrapperspb.BytesValue)), nil
			})
	}}},
}

// reply returns the request, or if that is in place, and is not to be passed on, a copy that is
// too.
func reply(ctx context.Context, q *wrapperspb.BytesValue) *wrapperspb.BytesValue {
	md, _ := metadata.FromIncomingContext(ctx)
	if len(md.Get("copy")) == 0 {
		return q
	}
	r := wrapperspb.Bytes(blobgrpc.Bytes(ctx, len(q.Value)))
	copy(r.Value, q.Value)
	return r
}

func serveGRPC(dir, name string, t *blobgrpc.Transport) {
	opts := []grpc.ServerOption{grpc.MaxRecvMsgSize(2 * *size)}
	if t != nil {
		opts = append(opts, t.ServerOptions()...)
	}
	s := grpc.NewServer(opts...)
	s.RegisterService(&service, nil)
	l := get(net.ListenUnix("unix", address(dir, name)))
	go func() { must(s.Serve(l)) }()
}

func grpcClient(dir, name string, t *blobgrpc.Transport) *grpc.ClientConn {
	opts := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(2 * *size))}
	if t != nil {
		opts = append(opts, t.DialOptions()...)
	}
	return get(grpc.NewClient("unix://"+address(dir, name).Name, opts...))
}

func grpcEcho(dir, name string, t *blobgrpc.Transport) func([]byte) []byte {
	conn := grpcClient(dir, name, t)
	return func(q []byte) []byte {
		r := new(wrapperspb.BytesValue)
		must(conn.Invoke(context.Background(), "/Echo/Echo", wrapperspb.Bytes(q), r))
		return r.Value
	}
}

// lentEcho writes a message into the pool, where the server reads it, and copies it for its reply.
func lentEcho(dir, name string, pool *blob.Pool) func([]byte) []byte {
	t := blobgrpc.New(pool, nil)
	conn, own := grpcClient(dir, name, t), make([]byte, *size)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "copy", "yes")
	return func(q []byte) []byte {
		ctx, release := t.Lend(ctx)
		defer release()
		m, r := wrapperspb.Bytes(blobgrpc.Bytes(ctx, len(q))), new(wrapperspb.BytesValue)
		copy(m.Value, q)
		must(conn.Invoke(ctx, "/Echo/Echo", m, r))
		copy(own, r.Value)
		return own
	}
}

// passedEcho writes a message into the pool. The server passes it on as its reply.
func passedEcho(dir, name string, pool *blob.Pool) func([]byte) []byte {
	t := blobgrpc.New(pool, nil)
	conn, own := grpcClient(dir, name, t), make([]byte, *size)
	return func(q []byte) []byte {
		ctx, release := t.Lend(context.Background())
		defer release()
		m, r := wrapperspb.Bytes(blobgrpc.Bytes(ctx, len(q))), new(wrapperspb.BytesValue)
		copy(m.Value, q)
		must(conn.Invoke(ctx, "/Echo/Echo", m, r))
		copy(own, r.Value)
		return own
	}
}

// smallEcho makes the call with 64 bytes: what gRPC costs without the message.
func smallEcho(dir, name string) func([]byte) []byte {
	echo := grpcEcho(dir, name, nil)
	return func(q []byte) []byte {
		_ = echo(q[:min(64, len(q))])
		return q
	}
}

func socketEcho(c *net.UnixConn) func([]byte) []byte {
	r := make([]byte, *size)
	return func(q []byte) []byte {
		go func() { _ = get(c.Write(q)) }() // the other side writes when it has read all
		_ = get(io.ReadFull(c, r))
		return r
	}
}

func memfdEcho(c *net.UnixConn) func([]byte) []byte {
	r := make([]byte, *size)
	return func(q []byte) []byte {
		sendFD(c, q)
		receiveFD(c, r)
		return r
	}
}

// sendFD sends a message in a memfd of its own.
func sendFD(c *net.UnixConn, b []byte) {
	fd := get(unix.MemfdCreate("message", unix.MFD_CLOEXEC))
	_ = get(unix.Write(fd, b))
	head := binary.LittleEndian.AppendUint64(nil, uint64(len(b)))
	_, _, err := c.WriteMsgUnix(head, unix.UnixRights(fd), nil)
	must(err)
	must(unix.Close(fd))
}

func receiveFD(c *net.UnixConn, b []byte) {
	head, rights := make([]byte, 8), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(head, rights)
	must(err)
	fd := get(unix.ParseUnixRights(&get(unix.ParseSocketControlMessage(rights[:n]))[0]))[0]
	_ = get(unix.Pread(fd, b[:binary.LittleEndian.Uint64(head)], 0))
	must(unix.Close(fd))
}

func handleEcho(c *net.UnixConn, pool *blob.Pool) func([]byte) []byte {
	r := make([]byte, *size)
	return func(q []byte) []byte {
		sendHandle(c, pool, q)
		receiveHandle(c, pool, r)
		return r
	}
}

func sendHandle(c *net.UnixConn, pool *blob.Pool, b []byte) {
	buf := get(pool.Take(context.Background(), len(b)))
	_ = get(buf.WriteAt(b, 0))
	h := get(buf.HandOver(0))
	_ = get(c.Write(get(h.MarshalBinary())))
}

func receiveHandle(c *net.UnixConn, pool *blob.Pool, b []byte) {
	var bin [blob.HandleSize]byte
	var h blob.Handle
	_ = get(io.ReadFull(c, bin[:]))
	must(h.UnmarshalBinary(bin[:]))
	buf := get(pool.Resolve(h))
	_ = get(buf.ReadAt(b, 0))
	must(buf.Close())
}
