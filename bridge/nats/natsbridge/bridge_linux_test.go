package natsbridge

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/embedded"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

type point struct{ X, Y int64 }

// longPoint is a point with a field appended.
type longPoint struct{ X, Y, Z int64 }

// otherPoint is no point.
type otherPoint struct{ X, Z int64 }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A site is a server and the directories of two hosts.
type site struct {
	t    *testing.T
	nc   *nats.Conn
	a, b string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s, err := embedded.Start(t.TempDir(), -1)
	check(t, err)
	t.Cleanup(s.Close)
	x := &site{t: t}
	x.nc, err = nats.Connect(s.URL(), nats.MaxReconnects(-1))
	check(t, err)
	t.Cleanup(x.nc.Close)
	for _, dir := range []*string{&x.a, &x.b} {
		*dir, err = os.MkdirTemp("/dev/shm", "natsbridge-test-")
		check(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(*dir) })
	}
	return x
}

// run runs a bridge of one route until the test ends.
func (x *site) run(dir, route string, out bool) *Bridge {
	x.t.Helper()
	b, end := x.begin(dir, route, out)
	x.t.Cleanup(end)
	return b
}

// start runs a bridge of one route until end is called.
func (x *site) start(dir, route string, out bool) (end func()) {
	x.t.Helper()
	_, end = x.begin(dir, route, out)
	return end
}

func (x *site) begin(dir, route string, out bool) (b *Bridge, end func()) {
	x.t.Helper()
	b, err := New(x.nc, &Options{Dir: dir, Capacity: 16})
	check(x.t, err)
	if out {
		check(x.t, b.Out(route))
	} else {
		check(x.t, b.In(route))
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	return b, func() {
		stop()
		if err := <-done; err != nil {
			x.t.Error(err)
		}
	}
}

// until waits until f reports true.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for begun := time.Now(); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("%s: not in 30 s", what)
		}
	}
}

// hasError waits until the route of a bridge has an error, and returns it.
func hasError(t *testing.T, b *Bridge, want error) (err error) {
	t.Helper()
	until(t, want.Error(), func() bool { err = b.Stats()[0].Err; return errors.Is(err, want) })
	return err
}

func openBox[T any](t *testing.T, dir string) *shmem.Box[T] {
	t.Helper()
	b, err := shmem.Open[T]("p", &shmem.Options{Dir: dir})
	check(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// TestBox: the mirror has the latest value, is put right if another process writes it, and follows
// an owner that makes the box anew.
func TestBox(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	owner, err := shmem.Create[point]("p", &shmem.Options{Dir: x.a})
	check(t, err)
	check(t, owner.Store(ctx, point{1, 2}))
	x.run(x.a, "box:p", true)
	in := x.run(x.b, "box:p", false)
	mirror, err := shmem.AttachWait[point](ctx, "p", &shmem.Options{Dir: x.b})
	check(t, err)
	defer mirror.Close()
	is := func(v point) func() bool {
		return func() bool { is, err := mirror.Load(ctx); return err == nil && is == v }
	}
	until(t, "the value", is(point{1, 2}))
	check(t, mirror.Store(ctx, point{8, 8}))
	until(t, "the value again", is(point{1, 2}))
	until(t, "the count", func() bool { return in.Stats()[0].LocalWrites == 1 })
	check(t, owner.Close())
	owner, err = shmem.Create[point]("p", &shmem.Options{Dir: x.a})
	check(t, err)
	defer owner.Close()
	check(t, owner.Store(ctx, point{3, 4}))
	until(t, "the value of the next owner", is(point{3, 4}))
}

// TestIncarnation: a segment that was made anew while a bridge attached is noticed.
func TestIncarnation(t *testing.T) {
	x := newSite(t)
	openBox[point](t, x.a)
	inc, err := incarnation(x.a, "p")
	check(t, err)
	check(t, same(x.a, "p", inc))
	check(t, shmem.Remove(x.a, "p"))
	openBox[point](t, x.a)
	if err := same(x.a, "p", inc); !errors.Is(err, errBegin) {
		t.Error(err)
	}
}

// TestTwoWriters: the bridge that began later has the route, the former stops, with nothing sent in
// between too. Started again, the former has it again.
func TestTwoWriters(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	owner := openBox[point](t, x.a)
	check(t, owner.Store(ctx, point{1, 2}))
	ticks, err := topic.Open[point]("ticks", &topic.Options{Dir: x.a})
	check(t, err)
	defer ticks.Close()
	check(t, ticks.Publish(ctx, point{1, 2}))
	for _, route := range []string{"box:p", "topic:ticks"} {
		var before *Bridge
		for i := range int64(3) {
			b := x.run(x.a, route, true)
			running := func() bool { return b.Stats()[0].State == "running" }
			until(t, "it runs", running)
			if before == nil {
				until(t, "sent", func() bool { return b.Stats()[0].Acked > 0 })
			} else {
				hasError(t, before, ErrOtherWriter)
				code, body := ready(before)
				if code != 503 || !strings.Contains(body, "out "+route+": stopped") {
					t.Errorf("readyz: %d %s", code, body)
				}
			}
			check(t, owner.Store(ctx, point{3 + i, 4}))
			check(t, ticks.Publish(ctx, point{3 + i, 4}))
			until(t, "sent by the later one", func() bool { return b.Stats()[0].Acked > 0 && running() })
			before = b
		}
	}
}

// TestClaim: a claim that another bridge has not taken over is this one's, whatever an old copy of
// the bucket says; a bucket that was made anew has none.
func TestClaim(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	js, err := jetstream.New(x.nc)
	check(t, err)
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "shmem"})
	check(t, err)
	r, err := parseRoute("box:p", true)
	check(t, err)
	claims := [2]claim{{r: r, kv: kv}, {r: r, kv: kv}}
	first, second := &claims[0], &claims[1]
	check(t, first.begin(ctx))
	check(t, first.beat(ctx))
	first.revision-- // the acknowledgement of the last beat was lost
	check(t, first.beat(ctx))
	check(t, second.begin(ctx))
	for _, f := range []func(context.Context) error{first.beat, first.begin, first.check} {
		if err := f(ctx); !errors.Is(err, ErrOtherWriter) {
			t.Error(err)
		}
	}
	check(t, second.begin(ctx)) // a session begins anew
	check(t, second.beat(ctx))
	check(t, js.DeleteKeyValue(ctx, "shmem"))
	_, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "shmem"})
	check(t, err)
	check(t, second.begin(ctx))
	check(t, second.beat(ctx))
	check(t, js.DeleteKeyValue(ctx, "shmem"))
	_, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "shmem"})
	check(t, err)
	third := claim{r: r, kv: kv} // it has the first claim of the new bucket, of a lower revision
	check(t, third.begin(ctx))
	second.revision = third.revision + 100 // it had lived for long
	for _, f := range []func(context.Context) error{second.begin, second.beat} {
		if err := f(ctx); !errors.Is(err, ErrOtherWriter) {
			t.Error(err)
		}
	}
	check(t, third.begin(ctx))
}

// TestRefused: fields that change without a version are refused by name; so is another type, with
// both shown. A type with fields appended passes.
func TestRefused(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	type counting struct{ In [2]struct{ N atomic.Int64 } }
	odd, err := shmem.Open[counting]("odd", &shmem.Options{Dir: x.a})
	check(t, err)
	defer odd.Close()
	err = hasError(t, x.run(x.a, "box:odd", true), ErrRefused)
	if !strings.Contains(err.Error(), "field In[].N ") {
		t.Error(err)
	}
	for _, open := range []func() (io.Closer, error){
		func() (io.Closer, error) {
			return topic.OpenBytes("lines", &topic.BytesOptions{Dir: x.a})
		},
		func() (io.Closer, error) { return queue.Open[point]("jobs", &queue.Options{Dir: x.a}) },
		func() (io.Closer, error) {
			return queue.Open[point]("single", &queue.Options{Dir: x.a, Single: true})
		},
		func() (io.Closer, error) {
			return queue.OpenBytes("bytes", &queue.BytesOptions{Dir: x.a, Single: true})
		},
		func() (io.Closer, error) {
			return kv.Open[int64, point]("map", &kv.Options{Dir: x.a})
		},
	} {
		c, err := open()
		check(t, err)
		defer c.Close()
	}
	for _, route := range []string{"topic:jobs", "topic:map", "queue:map", "box:lines", "box:jobs",
		"queue:lines", "queue:single", "queue:bytes", "box:map", "map:jobs", "map:lines"} {
		err := hasError(t, x.run(x.a, route, true), ErrRefused)
		if single := route == "queue:single" || route == "queue:bytes"; single !=
			strings.Contains(err.Error(), "without Single") {
			t.Errorf("%s: %v", route, err)
		}
	}
	owner := openBox[point](t, x.a)
	check(t, owner.Store(ctx, point{1, 2}))
	x.run(x.a, "box:p", true)
	other, err := shmem.Open[otherPoint]("other", &shmem.Options{Dir: x.b})
	check(t, err)
	defer other.Close()
	err = hasError(t, x.run(x.b, "box:p=other", false), ErrRefused)
	if !strings.Contains(err.Error(), "Y") || !strings.Contains(err.Error(), "Z") {
		t.Error(err)
	}
	long, err := shmem.Open[longPoint]("long", &shmem.Options{Dir: x.b, Append: true})
	check(t, err)
	defer long.Close()
	check(t, long.Store(ctx, longPoint{Z: 7}))
	x.run(x.b, "box:p=long", false)
	until(t, "the value of an appended type", func() bool {
		v, err := long.Load(ctx)
		return err == nil && v.X == 1 && v.Y == 2
	})
}

// TestTopic: a late host gets all that the stream keeps; what the ring lost is counted; a topic
// that is made anew goes on.
func TestTopic(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	from, err := topic.Create[point]("p", &topic.Options{Dir: x.a, Capacity: 8})
	check(t, err)
	for i := range int64(3) {
		check(t, from.Publish(ctx, point{i, 0}))
	}
	out := x.run(x.a, "topic:p", true)
	until(t, "all sent", func() bool { return out.Stats()[0].Acked > 0 && out.Stats()[0].Sent == 3 })
	in := x.run(x.b, "topic:p", false)
	to, err := topic.AttachWait[point](ctx, "p", &topic.Options{Dir: x.b})
	check(t, err)
	defer to.Close()
	sub, err := to.Subscribe(topic.Oldest)
	check(t, err)
	want := func(n int64) {
		t.Helper()
		if v, err := sub.Recv(ctx); err != nil || v.X != n {
			t.Fatal(v, err, n)
		}
	}
	for i := range int64(3) {
		want(i)
	}
	check(t, from.Close())
	from, err = topic.Create[point]("p", &topic.Options{Dir: x.a, Capacity: 8})
	check(t, err)
	defer from.Close()
	vs := make([]point, 100)
	for i := range vs {
		vs[i].X = int64(100 + i)
	}
	_, err = from.PublishBatch(ctx, vs)
	check(t, err)
	last := int64(0)
	for last != 199 {
		v, err := sub.Recv(ctx)
		check(t, err)
		if v.X <= last {
			t.Fatalf("%d after %d", v.X, last)
		}
		last = v.X
	}
	until(t, "all counted", func() bool { s := in.Stats()[0]; return s.Sent+s.Lost == 103 })
}

// TestQueue: each message comes once, of both kinds of queue; a full mirror holds the sender back;
// what cannot be read goes to the dead letters.
func TestQueue(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	from, err := queue.Open[point]("p", &queue.Options{Dir: x.a, Capacity: 16})
	check(t, err)
	defer from.Close()
	x.run(x.a, "queue:p", true)
	in := x.run(x.b, "queue:p", false)
	go func() {
		for i := range int64(100) {
			_ = from.Send(ctx, point{i, 0})
		}
	}()
	to, err := queue.AttachWait[point](ctx, "p", &queue.Options{Dir: x.b})
	check(t, err)
	defer to.Close()
	until(t, "a full mirror", func() bool { return to.Len() == to.Cap() })
	seen := map[int64]bool{}
	for range 100 {
		v, err := to.Recv(ctx)
		check(t, err)
		seen[v.X] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d of 100 messages", len(seen))
	}
	js, err := jetstream.New(x.nc)
	check(t, err)
	_, err = js.Publish(ctx, "shmem.queue.p", []byte("no frame"))
	check(t, err)
	until(t, "the dead letter", func() bool { return in.Stats()[0].Poison == 1 })
	dead, err := js.Stream(ctx, "shmem_dead")
	check(t, err)
	m, err := dead.GetLastMsgForSubject(ctx, "shmem.dead.p")
	if err != nil || string(m.Data) != "no frame" {
		t.Error(m, err)
	}
	if _, err := to.TryRecv(); !errors.Is(err, queue.ErrEmpty) {
		t.Error(err)
	}
}

// TestBytes: a queue of messages of any length.
func TestBytes(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	from, err := queue.OpenBytes("p", &queue.BytesOptions{Dir: x.a})
	check(t, err)
	defer from.Close()
	check(t, from.Send(ctx, []byte("one")))
	check(t, from.Send(ctx, nil))
	x.run(x.a, "queue:p", true)
	x.run(x.b, "queue:p=q", false)
	to, err := queue.AttachBytesWait(ctx, "q", &queue.BytesOptions{Dir: x.b})
	check(t, err)
	defer to.Close()
	for _, want := range []string{"one", ""} {
		if b, err := to.Recv(ctx, nil); err != nil || string(b) != want {
			t.Errorf("%q, %v", b, err)
		}
	}
}

// TestRemembered: a message that the server takes twice, because it forgot the first, comes once.
func TestRemembered(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	in := x.run(x.b, "queue:p", false)
	js, err := jetstream.New(x.nc)
	check(t, err)
	f := frame{kind: codes[kindQueue], incarnation: 5, sequence: 9}
	for range 2 {
		until(t, "the stream", func() bool {
			_, err := js.Publish(ctx, "shmem.queue.p", append(f.append(nil), "x"...))
			return err == nil
		})
	}
	until(t, "the duplicate", func() bool { s := in.Stats()[0]; return s.Sent == 1 && s.Duplicates == 1 })
	x2, err := openState[queueWords](x.b, in.routes[0])
	if !errors.Is(err, ErrRefused) {
		t.Error(x2, err, "a mirror has two bridges")
	}
}

// TestRoutes: what is no route, and a segment that has two.
func TestRoutes(t *testing.T) {
	for _, s := range []string{"", "box", "box:", "maps:x", "map:a.b", "box:a/b", "box:a=", "box:.a", "box:a..b",
		"topic:a.", "box:a.bridge", "box:a=b.bridge", "queue:\x1b[2J", "box:a b", "box:a>"} {
		if _, err := parseRoute(s, true); !errors.Is(err, ErrRoute) {
			t.Errorf("%q: %v", s, err)
		}
	}
	x := newSite(t)
	b, err := New(x.nc, nil)
	check(t, err)
	check(t, b.Out("box:a", "topic:a=c"))
	for _, err := range []error{b.Out("box:a"), b.In("box:b=a"), b.In("topic:a"), b.Out("queue:c")} {
		if !errors.Is(err, ErrRoute) {
			t.Error(err)
		}
	}
}

// FuzzFrame: bytes of others never panic.
func FuzzFrame(f *testing.F) {
	f.Add((&frame{kind: 1}).append(nil))
	f.Add([]byte("SHMB\x01\x01\x00\x30"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, body, err := parseFrame(1, b); err == nil && (x.kind != 1 || len(body) > len(b)-frameLen) {
			t.Error(x, len(body))
		}
	})
}

// TestMirrorFirst: a program may have made the mirror before the bridge comes.
func TestMirrorFirst(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	for _, dir := range []string{x.a, x.b} {
		b, err := shmem.Open[point]("b", &shmem.Options{Dir: dir})
		check(t, err)
		defer b.Close()
		p, err := topic.Open[point]("t", &topic.Options{Dir: dir})
		check(t, err)
		defer p.Close()
		q, err := queue.Open[point]("q", &queue.Options{Dir: dir})
		check(t, err)
		defer q.Close()
		l, err := queue.OpenBytes("l", &queue.BytesOptions{Dir: dir})
		check(t, err)
		defer l.Close()
		m := openMap[int64, point](t, dir, "m", kv.Options{})
		if dir == x.b {
			break
		}
		check(t, b.Store(ctx, point{1, 0}))
		check(t, p.Publish(ctx, point{1, 0}))
		check(t, q.Send(ctx, point{1, 0}))
		check(t, l.Send(ctx, []byte("1")))
		check(t, m.Set(ctx, 1, point{1, 0}))
	}
	for _, r := range []string{"box:b", "topic:t", "queue:q", "queue:l", "map:m"} {
		x.run(x.a, r, true)
		in := x.run(x.b, r, false)
		until(t, r, func() bool { return in.Stats()[0].Sent == 1 })
	}
}
