// Command speed measures the bridge beside bare nats.go, in one run. Both hosts and both ways are
// in this process, the server in another. The figures are to be compared with each other only.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/embedded"
	"github.com/shmembox/shmem/bridge/nats/natsbridge"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// A message has 64 bytes.
type message struct {
	N   uint64
	Pad [56]byte
}

// A bench is a server, a connection of each host, and their directories.
type bench struct {
	url, a, b string
	n         int
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "server" {
		if err := serve(os.Args[2]); err != nil {
			log.Fatal(err)
		}
		return
	}
	n := flag.Int("n", 50_000, "messages of each kind")
	rounds := flag.Int("rounds", 3, "rounds")
	flag.Parse()
	for range *rounds {
		if err := run(*n); err != nil {
			log.Fatal(err)
		}
	}
}

func run(n int) error {
	x := &bench{n: n}
	store, err := os.MkdirTemp("", "bridge-speed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(store)
	for _, dir := range []*string{&x.a, &x.b} {
		if *dir, err = os.MkdirTemp("/dev/shm", "bridge-speed-"); err != nil {
			return err
		}
		defer os.RemoveAll(*dir)
	}
	end, err := x.server(store)
	if err != nil {
		return err
	}
	defer end()
	ctx := context.Background()
	raw, err := x.request()
	if err != nil {
		return err
	}
	box, err := x.box(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("request and reply p50 %v, box p50 %v: %.2f times\n", raw, box,
		float64(box)/float64(raw))
	base, err := timed(n, func() error { return x.publish(ctx) })
	if err != nil {
		return err
	}
	fmt.Printf("%-28s %v\n", "bare asynchronous publish", base)
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"topic, packed", func() error { return x.topic(ctx, "packed", 0) }},
		{"topic, each alone", func() error { return x.topic(ctx, "alone", 1) }},
		{"queue, 256 leases", func() error { return x.queue(ctx) }},
	} {
		f, err := timed(n, c.do)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Printf("%-28s %v: %.2f times\n", c.name, f, f.rate/base.rate)
	}
	return nil
}

// serve is the child process with the server. It ends with its parent.
func serve(store string) error {
	s, err := embedded.Start(store, -1)
	if err != nil {
		return err
	}
	fmt.Println(s.URL())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// server starts a server in a process of its own.
func (x *bench) server(store string) (end func(), err error) {
	cmd := exec.Command("/proc/self/exe", "server", store)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	end = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	if _, err := fmt.Fscanln(out, &x.url); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// A figure is messages a second, and the CPU of this process a message.
type figure struct {
	rate float64
	cpu  time.Duration
}

func (f figure) String() string { return fmt.Sprintf("%.0f a second, CPU %v", f.rate, f.cpu) }

func timed(n int, f func() error) (figure, error) {
	cpu, begun := used(), time.Now()
	err := f()
	d := time.Since(begun)
	return figure{float64(n) / d.Seconds(), (used() - cpu) / time.Duration(n)}, err
}

// used returns the CPU time of this process.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// request returns the median of a request and its reply.
func (x *bench) request() (time.Duration, error) {
	nc, err := nats.Connect(x.url)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	other, err := nats.Connect(x.url)
	if err != nil {
		return 0, err
	}
	defer other.Close()
	_, err = other.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	if err != nil {
		return 0, err
	}
	if err := other.Flush(); err != nil {
		return 0, err
	}
	return median(1000, func() error {
		_, err := nc.Request("echo", make([]byte, 64), 5*time.Second)
		return err
	})
}

func median(n int, f func() error) (time.Duration, error) {
	var all []time.Duration
	for range n {
		begun := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		all = append(all, time.Since(begun))
	}
	slices.Sort(all)
	return all[n/2], nil
}

// hosts runs a route between the two hosts until end is called.
func (x *bench) hosts(ctx context.Context, route string, pack int) (
	out, in *natsbridge.Bridge, end func(), err error,
) {
	ctx, stop := context.WithCancel(ctx)
	var conns []*nats.Conn
	done := make(chan error, 2)
	end = func() {
		stop()
		for _, nc := range conns {
			<-done
			defer nc.Close()
		}
	}
	for _, dir := range []string{x.a, x.b} {
		nc, err := nats.Connect(x.url)
		if err != nil {
			return nil, nil, end, err
		}
		b, err := natsbridge.New(nc, &natsbridge.Options{Dir: dir, Pack: pack, Capacity: 8192})
		if err != nil {
			return nil, nil, end, err
		}
		if dir == x.a {
			out, err = b, b.Out(route)
		} else {
			in, err = b, b.In(route)
		}
		if err != nil {
			return nil, nil, end, err
		}
		conns = append(conns, nc)
		go func() { done <- b.Run(ctx) }()
	}
	return out, in, end, nil
}

// box returns the median of the time from a Store to the change of the mirror.
func (x *bench) box(ctx context.Context) (time.Duration, error) {
	from, err := shmem.Create[message]("cfg", &shmem.Options{Dir: x.a})
	if err != nil {
		return 0, err
	}
	defer from.Close()
	if err := from.Store(ctx, message{}); err != nil {
		return 0, err
	}
	_, _, end, err := x.hosts(ctx, "box:cfg", 0)
	defer end()
	if err != nil {
		return 0, err
	}
	to, err := shmem.AttachWait[message](ctx, "cfg", &shmem.Options{Dir: x.b})
	if err != nil {
		return 0, err
	}
	defer to.Close()
	time.Sleep(300 * time.Millisecond)
	n := uint64(0)
	return median(1000, func() error {
		n++
		seen := to.Version()
		if err := from.Store(ctx, message{N: n}); err != nil {
			return err
		}
		return to.Wait(ctx, seen)
	})
}

// publish publishes messages as nats.go does by itself.
func (x *bench) publish(ctx context.Context) error {
	nc, err := nats.Connect(x.url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(512))
	if err != nil {
		return err
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "raw", Subjects: []string{"raw"},
		Storage: jetstream.FileStorage})
	if err != nil {
		return err
	}
	b := make([]byte, 64)
	for range x.n {
		if _, err := js.PublishAsync("raw", b, jetstream.WithStallWait(time.Minute)); err != nil {
			return err
		}
	}
	<-js.PublishAsyncComplete()
	return nil
}

// topic sends messages that are in a topic until the mirror has all.
func (x *bench) topic(ctx context.Context, name string, pack int) error {
	t, err := topic.Create[message](name, &topic.Options{Dir: x.a, Capacity: x.n})
	if err != nil {
		return err
	}
	defer t.Close()
	if _, err := t.PublishBatch(ctx, make([]message, x.n)); err != nil {
		return err
	}
	_, in, end, err := x.hosts(ctx, "topic:"+name, pack)
	defer end()
	if err != nil {
		return err
	}
	for in.Stats()[0].Sent < int64(x.n) {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// queue sends messages through both queues until the last is received.
func (x *bench) queue(ctx context.Context) error {
	from, err := queue.Create[message]("jobs", &queue.Options{Dir: x.a, Capacity: 8192})
	if err != nil {
		return err
	}
	defer from.Close()
	_, _, end, err := x.hosts(ctx, "queue:jobs", 0)
	defer end()
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		for range x.n {
			if err := from.Send(ctx, message{}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	to, err := queue.AttachWait[message](ctx, "jobs", &queue.Options{Dir: x.b})
	if err != nil {
		return err
	}
	defer to.Close()
	for range x.n {
		if _, err := to.Recv(ctx); err != nil {
			return err
		}
	}
	return <-sent
}
