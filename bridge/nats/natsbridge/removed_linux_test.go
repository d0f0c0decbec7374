package natsbridge

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// TestStreamRemoved: a topic whose stream is purged or removed goes on, and nothing of what the
// ring has comes twice.
func TestStreamRemoved(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	js, err := jetstream.New(x.nc)
	check(t, err)
	from, err := topic.Open[point]("p", &topic.Options{Dir: x.a, Capacity: 64})
	check(t, err)
	defer from.Close()
	n := int64(0)
	publish := func() {
		n++
		check(t, from.Publish(ctx, point{n, 0}))
	}
	publish()
	end := x.start(x.a, "topic:p", true)
	in := x.run(x.b, "topic:p", false)
	arrives := func() {
		t.Helper()
		until(t, "a message", func() bool { return in.Stats()[0].Sent >= n })
		if sent := in.Stats()[0].Sent; sent != n {
			t.Fatalf("%d messages, want %d", sent, n)
		}
	}
	arrives()
	for range 5 {
		publish()
		arrives()
	}
	end()
	s, err := js.Stream(ctx, "shmem_topic_p")
	check(t, err)
	check(t, s.Purge(ctx))
	publish()
	end = x.start(x.a, "topic:p", true)
	arrives()
	for range 5 {
		publish()
		arrives()
	}
	end()
	check(t, js.DeleteStream(ctx, "shmem_topic_p"))
	publish()
	end = x.start(x.a, "topic:p", true)
	defer end()
	arrives()
	publish()
	arrives()
}

// TestBucketRemoved: what a bucket has lost, or another program wrote there, is put right while
// nothing changes at the origin. So a late host gets it.
func TestBucketRemoved(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	js, err := jetstream.New(x.nc)
	check(t, err)
	box := openBox[point](t, x.a)
	check(t, box.Store(ctx, point{1, 2}))
	m := openMap[int64, point](t, x.a, "m", kv.Options{})
	check(t, m.Set(ctx, 1, point{3, 4}))
	q, err := queue.Open[point]("q", &queue.Options{Dir: x.a})
	check(t, err)
	defer q.Close()
	all := map[string]*Bridge{}
	for _, r := range []string{"box:p", "map:m", "queue:q"} {
		b := x.run(x.a, r, true)
		until(t, r, func() bool { return b.Stats()[0].State == "running" })
		all[r] = b
	}
	until(t, "the value", func() bool { return all["box:p"].Stats()[0].Acked > 0 })
	until(t, "the entry", func() bool { return all["map:m"].Stats()[0].Acked > 0 })
	has := func(bucket, key string) func() bool {
		return func() bool {
			k, err := js.KeyValue(ctx, bucket)
			if err != nil {
				return false
			}
			_, err = k.Get(ctx, key)
			return err == nil
		}
	}
	right := func(what string) {
		t.Helper()
		until(t, what+": the box", has("shmem", "box.p"))
		until(t, what+": the map", has("shmem_map_m", "1"))
		until(t, what+": the type", has("shmem", schemaKey(typeOf[point](t))))
	}
	right("before")
	bucket, err := js.Stream(ctx, "KV_shmem")
	check(t, err)
	entries, err := js.Stream(ctx, "KV_shmem_map_m")
	check(t, err)
	check(t, bucket.Purge(ctx))
	check(t, entries.Purge(ctx))
	right("purged")
	check(t, js.DeleteStream(ctx, "KV_shmem"))
	check(t, js.DeleteStream(ctx, "KV_shmem_map_m"))
	right("removed")
	k, err := js.KeyValue(ctx, "shmem")
	check(t, err)
	check(t, k.Delete(ctx, "box.p"))
	right("deleted")
	_, err = k.PutString(ctx, "box.p", "a stranger")
	check(t, err)
	until(t, "put right", func() bool {
		e, err := k.Get(ctx, "box.p")
		return err == nil && bytes.HasPrefix(e.Value(), []byte(frameMagic))
	})
	until(t, "it is counted", func() bool { return all["box:p"].Stats()[0].OtherWriter > 0 })
}

// TestStoppedTwice: a bridge that is stopped twice in the middle of one frame publishes none of its
// messages twice.
func TestStoppedTwice(t *testing.T) {
	const n = 30
	ctx, x := t.Context(), newSite(t)
	from, err := topic.Open[point]("p", &topic.Options{Dir: x.a, Capacity: 64})
	check(t, err)
	defer from.Close()
	for i := range int64(n) {
		check(t, from.Publish(ctx, point{i, 0}))
	}
	x.run(x.a, "topic:p", true)
	to, err := topic.Open[point]("p", &topic.Options{
		Dir: x.b, Capacity: 16, Holds: 1, Lifetime: shmem.Kept,
	})
	check(t, err)
	defer to.Close()
	sub, err := to.Subscribe(topic.Now)
	check(t, err)
	defer sub.Close()
	for range 3 {
		in, end := x.begin(x.b, "topic:p", false)
		until(t, "it waits for room", func() bool {
			st, err := to.Stats()
			return err == nil && st.Published == 16 && in.Stats()[0].State == "running"
		})
		time.Sleep(50 * time.Millisecond) // what it has settled is noted
		end()
	}
	x.run(x.b, "topic:p", false)
	for i := range int64(n) {
		if v, err := sub.Recv(ctx); err != nil || v.X != i {
			t.Fatal(v, i, err)
		}
	}
}

func init() { schemaFor = 100 * time.Millisecond }

// TestTypeLate: a message that comes before its type, from a server that lags behind, is no poison.
func TestTypeLate(t *testing.T) {
	schemaFor = 30 * time.Second
	defer func() { schemaFor = 100 * time.Millisecond }()
	ctx, x := t.Context(), newSite(t)
	var ins []*Bridge
	for _, r := range []string{"topic:t", "queue:q"} {
		in := x.run(x.b, r, false)
		until(t, r, func() bool { return in.Stats()[0].State == "running" })
		ins = append(ins, in)
	}
	js, err := jetstream.New(x.nc)
	check(t, err)
	point, err := format.Of(reflect.TypeFor[point]())
	check(t, err)
	f := frame{fingerprint: point.Fingerprint(), incarnation: 1}
	for kind, number := range map[string]int{"topic.t": 8, "queue.q": 0} {
		f.kind = codes[kind[:5]]
		_, err = js.Publish(ctx, "shmem."+kind, append(f.append(nil), make([]byte, number+16)...))
		check(t, err)
	}
	time.Sleep(50 * time.Millisecond)
	kv, err := js.KeyValue(ctx, "shmem")
	check(t, err)
	check(t, putSchema(ctx, kv, point))
	for _, in := range ins {
		until(t, "the message", func() bool { return in.Stats()[0].Sent+in.Stats()[0].Poison > 0 })
		if n := in.Stats()[0].Poison; n > 0 {
			t.Error(in.Stats()[0].Route, "is refused")
		}
	}
}

// TestStranger: a message of another program in the stream of a topic makes the route begin anew,
// which is no failure.
func TestStranger(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	js, err := jetstream.New(x.nc)
	check(t, err)
	from, err := topic.Open[point]("p", &topic.Options{Dir: x.a})
	check(t, err)
	defer from.Close()
	var log logBuffer
	b, err := New(x.nc, &Options{Dir: x.a, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	check(t, err)
	check(t, b.Out("topic:p"))
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	check(t, from.Publish(ctx, point{1, 2}))
	until(t, "a message", func() bool { return b.Stats()[0].Acked == 1 })
	_, err = js.Publish(ctx, "shmem.topic.p", []byte("a stranger"))
	check(t, err)
	check(t, from.Publish(ctx, point{3, 4}))
	until(t, "another", func() bool { return b.Stats()[0].Acked == 2 })
	stop()
	check(t, <-done)
	if s := log.String(); strings.Contains(s, "WARN") {
		t.Error(s)
	}
}

// TestStateOfAnother: a mirror beside which another kind of route has left its state is refused, and
// the log says so once.
func TestStateOfAnother(t *testing.T) {
	x := newSite(t)
	s, err := openState[boxWords](x.b, &route{segment: "p"})
	check(t, err)
	s.close()
	var log logBuffer
	b, err := New(x.nc, &Options{Dir: x.b, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	check(t, err)
	check(t, b.In("queue:p"))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	until(t, "some tries", func() bool { return b.Stats()[0].Resets > 3 })
	if s := b.Stats()[0]; !errors.Is(s.Err, ErrRefused) {
		t.Error(s.State, s.Err)
	}
	stop()
	check(t, <-done)
	if s := log.String(); strings.Count(s, "WARN") != 1 {
		t.Error(s)
	}
}

// A logBuffer is a strings.Builder for several goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestShared: a host that shares a queue with another one is ready when the other has taken what
// there was.
func TestShared(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	from, err := queue.Open[point]("q", &queue.Options{Dir: x.a})
	check(t, err)
	defer from.Close()
	check(t, from.Send(ctx, point{1, 2}))
	x.run(x.a, "queue:q", true)
	in := x.run(x.b, "queue:q", false)
	until(t, "a message", func() bool { return in.Stats()[0].Sent == 1 })
	in.routes[0].stats.lag.Store(3) // these were there as well
	until(t, "no lag", func() bool { return in.Stats()[0].Lag == 0 })
}

// TestLargePoison: a message that cannot be read, as large as the server takes, does not hold up
// those behind it.
func TestLargePoison(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	js, err := jetstream.New(x.nc)
	check(t, err)
	from, err := queue.Open[point]("p", &queue.Options{Dir: x.a})
	check(t, err)
	defer from.Close()
	x.run(x.a, "queue:p", true)
	in := x.run(x.b, "queue:p", false)
	until(t, "it runs", func() bool { return in.Stats()[0].State == "running" })
	_, err = js.Publish(ctx, "shmem.queue.p", make([]byte, x.nc.MaxPayload()))
	check(t, err)
	check(t, from.Send(ctx, point{1, 1}))
	until(t, "a message", func() bool { return in.Stats()[0].Sent == 1 })
	until(t, "the poison", func() bool { return in.Stats()[0].Poison == 1 })
}

// TestLetter: a dead letter is no larger than the server takes, and its cause is there.
func TestLetter(t *testing.T) {
	for _, n := range []int{0, 10, 400, 489, 600, 900, 1000, 1024} {
		for _, cause := range []string{"no frame", strings.Repeat("é", 500)} {
			m := letter(make([]byte, n), cause, 1024)
			if m.Size() > 1024 || !strings.HasPrefix(cause, m.Header.Get("Shmem-Cause")) ||
				len(m.Header.Get("Shmem-Cause")) < 8 ||
				(len(m.Data) < n) != (m.Header.Get("Shmem-Length") == strconv.Itoa(n)) {
				t.Errorf("%d: %d %d %v", n, m.Size(), len(m.Data), m.Header)
			}
		}
	}
}

// TestPullBytes: a bridge has a bounded number of bytes of messages that wait, and gets them all.
func TestPullBytes(t *testing.T) {
	const n, size = 50, 1_000_000
	ctx, x := t.Context(), newSite(t)
	js, err := jetstream.New(x.nc)
	check(t, err)
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "s", Storage: jetstream.MemoryStorage})
	check(t, err)
	for range n {
		_, err := js.Publish(ctx, "s", make([]byte, size))
		check(t, err)
	}
	for _, most := range []int{512, 8} {
		cons, err := js.CreateConsumer(ctx, "s", jetstream.ConsumerConfig{
			AckPolicy: jetstream.AckNonePolicy,
		})
		check(t, err)
		p, err := newPull(x.nc, cons, most)
		check(t, err)
		defer p.close()
		got := 0
		for got < n {
			all, err := p.next(ctx, nil)
			check(t, err)
			if got == 0 {
				time.Sleep(300 * time.Millisecond) // more comes meanwhile
			}
			got += len(all)
			if limit := pullBytes/size + 1; len(p.ch) > limit {
				t.Fatalf("%d messages wait, want %d at most", len(p.ch), limit)
			}
		}
		if got != n {
			t.Errorf("%d messages, want %d", got, n)
		}
	}
}
