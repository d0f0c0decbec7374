package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/natsbridge"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

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
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				fmt.Fprintln(os.Stderr, "speed: a bridge:", err)
			}
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

// drop removes a stream of the bridge.
func (x *bench) drop(ctx context.Context, stream string) {
	nc, err := nats.Connect(x.url)
	if err != nil {
		return
	}
	defer nc.Close()
	if js, err := jetstream.New(nc); err == nil {
		_ = js.DeleteStream(ctx, stream)
	}
}

// box measures the time from a Store to the change of the mirror, and a request and its reply, by
// turns.
func (x *bench) box(ctx context.Context, n int) error {
	from, err := shmem.Create[message]("cfg", &shmem.Options{Dir: x.a})
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	if err := from.Store(ctx, message{}); err != nil {
		return err
	}
	_, _, end, err := x.hosts(ctx, "box:cfg", 0)
	defer end()
	if err != nil {
		return err
	}
	to, err := shmem.AttachWait[message](ctx, "cfg", &shmem.Options{Dir: x.b})
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	var conns [2]*nats.Conn
	for i := range conns {
		if conns[i], err = nats.Connect(x.url); err != nil {
			return err
		}
		defer conns[i].Close()
	}
	_, err = conns[1].Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	if err == nil {
		err = conns[1].Flush()
	}
	if err != nil {
		return err
	}
	hand, stop, err := x.hand(ctx, conns[:])
	if err != nil {
		return err
	}
	defer stop()
	ends, stop, err := x.ends(ctx, conns[:])
	if err != nil {
		return err
	}
	defer stop()
	time.Sleep(300 * time.Millisecond)
	return byTurns(n, []contender{
		{"request and reply", func(int) error {
			_, err := conns[0].Request("echo", make([]byte, 64), 5*time.Second)
			return err
		}, nil},
		{"nats.go, KV put to watch", hand, nil},
		{"  the same between two boxes", ends, nil},
		{"box, Store to change", func(i int) error {
			seen := to.Version()
			if err := from.Store(ctx, message{N: uint64(i + 1)}); err != nil {
				return err
			}
			return to.Wait(ctx, seen)
		}, nil},
	})
}

// A contender is one of those that box compares.
type contender struct {
	name string
	do   func(i int) error
	all  []time.Duration // how long each took
}

// byTurns does all ways n times, and prints how long they took beside the first one.
func byTurns(n int, ways []contender) error {
	for i := range n {
		for j := range ways {
			time.Sleep(200 * time.Microsecond) // the acknowledgement of the one before has come
			begun := time.Now()
			if err := ways[j].do(i); err != nil {
				return err
			}
			ways[j].all = append(ways[j].all, time.Since(begun))
		}
	}
	fmt.Printf("%-30s %10s %8s %10s %8s   aim of p50: 1.5\n", fmt.Sprintf("%d by turns", n), "p50",
		"ratio", "p99", "ratio")
	for _, w := range ways {
		fmt.Printf("%-30s", w.name)
		for _, p := range []int{50, 99} {
			slices.Sort(w.all)
			slices.Sort(ways[0].all)
			d, base := w.all[n*p/100], ways[0].all[n*p/100]
			fmt.Printf(" %10v %8.2f", d.Round(time.Microsecond), float64(d)/float64(base))
		}
		fmt.Println()
	}
	return nil
}

// buckets returns the bucket of the bridge by each of two connections.
func buckets(ctx context.Context, conns []*nats.Conn) (kvs [2]jetstream.KeyValue, err error) {
	for i, nc := range conns {
		js, err := jetstream.New(nc)
		if err != nil {
			return kvs, err
		}
		if kvs[i], err = js.KeyValue(ctx, "shmem"); err != nil {
			return kvs, err
		}
	}
	return kvs, nil
}

// hand does by hand what a box needs: it puts a value at a revision, and waits until a watch on the
// other connection has it.
func (x *bench) hand(
	ctx context.Context, conns []*nats.Conn,
) (f func(i int) error, stop func(), err error) {
	kvs, err := buckets(ctx, conns)
	if err != nil {
		return nil, nil, err
	}
	w, err := kvs[1].Watch(ctx, "hand")
	if err != nil {
		return nil, nil, err
	}
	revision := uint64(0)
	put := make(chan error, 1)
	put <- nil
	return func(int) error {
		if err := <-put; err != nil { // of the one before
			return err
		}
		go func() {
			r, err := kvs[0].Update(ctx, "hand", make([]byte, 48+64), revision)
			revision = r
			put <- err
		}()
		for e := range w.Updates() {
			if e != nil {
				break
			}
		}
		return nil
	}, func() { _ = w.Stop() }, nil
}

// ends does by hand what hand does, from the change of a box to that of another one: what it takes
// beside the server to wake two waiters.
func (x *bench) ends(
	ctx context.Context, conns []*nats.Conn,
) (f func(i int) error, stop func(), err error) {
	from, err := shmem.Create[message]("from", &shmem.Options{Dir: x.a})
	if err != nil {
		return nil, nil, err
	}
	to, err := shmem.Create[message]("to", &shmem.Options{Dir: x.b})
	if err != nil {
		return nil, nil, err
	}
	kvs, err := buckets(ctx, conns)
	if err != nil {
		return nil, nil, err
	}
	w, err := kvs[1].Watch(ctx, "ends")
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for revision, seen := uint64(0), from.Version(); from.Wait(ctx, seen) == nil; {
			seen = from.Version()
			revision, _ = kvs[0].Update(ctx, "ends", make([]byte, 48+64), revision)
		}
	})
	wg.Go(func() {
		for e := range w.Updates() {
			if e != nil {
				_ = to.Store(ctx, message{})
			}
		}
	})
	f = func(int) error {
		seen := to.Version()
		if err := from.Store(ctx, message{}); err != nil {
			return err
		}
		return to.Wait(ctx, seen)
	}
	return f, func() {
		cancel()
		_ = w.Stop()
		wg.Wait()
		_ = from.Close()
		_ = to.Close()
	}, nil
}

func topicPacked(ctx context.Context, x *bench, n int) (figure, error) { return x.topic(ctx, n, 0) }
func topicAlone(ctx context.Context, x *bench, n int) (figure, error)  { return x.topic(ctx, n, 1) }
func queuePacked(ctx context.Context, x *bench, n int) (figure, error) { return x.queue(ctx, n, 0) }
func queueAlone(ctx context.Context, x *bench, n int) (figure, error)  { return x.queue(ctx, n, 1) }

// topic publishes messages until the mirror has all.
func (x *bench) topic(ctx context.Context, n, pack int) (figure, error) {
	name := x.name("topic")
	t, err := topic.Create[message](name, &topic.Options{Dir: x.a, Capacity: n + 1})
	if err != nil {
		return figure{}, err
	}
	defer func() { _ = t.Close() }()
	out, in, end, err := x.hosts(ctx, "topic:"+name, pack)
	defer x.drop(ctx, "shmem_topic_"+name)
	defer end()
	if err != nil {
		return figure{}, err
	}
	if err := t.Publish(ctx, message{}); err != nil { // all is open when it comes
		return figure{}, err
	}
	has := func(n int) error {
		for begun := time.Now(); in.Stats()[0].Sent < int64(n); time.Sleep(100 * time.Microsecond) {
			if time.Since(begun) > time.Minute {
				return errors.Join(errors.New("nothing comes"), out.Stats()[0].Err)
			}
		}
		return nil
	}
	if err := has(1); err != nil {
		return figure{}, err
	}
	return x.timed(n, func() error {
		if _, err := t.PublishBatch(ctx, make([]message, n)); err != nil {
			return err
		}
		return has(n + 1)
	})
}

// queue sends messages through both queues until the last is received.
func (x *bench) queue(ctx context.Context, n, pack int) (figure, error) {
	name := x.name("queue")
	from, err := queue.Create[message](name, &queue.Options{Dir: x.a, Capacity: 8192})
	if err != nil {
		return figure{}, err
	}
	defer func() { _ = from.Close() }()
	_, _, end, err := x.hosts(ctx, "queue:"+name, pack)
	defer x.drop(ctx, "shmem_queue_"+name)
	defer end()
	if err != nil {
		return figure{}, err
	}
	if err := from.Send(ctx, message{}); err != nil {
		return figure{}, err
	}
	to, err := queue.AttachWait[message](ctx, name, &queue.Options{Dir: x.b})
	if err != nil {
		return figure{}, err
	}
	defer func() { _ = to.Close() }()
	if _, err := to.Recv(ctx); err != nil {
		return figure{}, err
	}
	return x.timed(n, func() error {
		sent := make(chan error, 1)
		go func() {
			var err error
			for i := 0; i < n && err == nil; i++ {
				err = from.Send(ctx, message{})
			}
			sent <- err
		}()
		for range n {
			if _, err := to.Recv(ctx); err != nil {
				return err
			}
		}
		return <-sent
	})
}
