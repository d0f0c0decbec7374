package natsbridge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// A wire dials connections that can freeze: nothing comes through, and neither end is told.
type wire struct{ frozen sync.RWMutex }

func (w *wire) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return &wired{c, w}, err
}

type wired struct {
	net.Conn
	w *wire
}

func (c *wired) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.w.frozen.RLock()
	defer c.w.frozen.RUnlock()
	return n, err
}

func ready(b *Bridge) (code int, body string) {
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code, w.Body.String()
}

// TestFrozen: a topic whose server says nothing any more begins anew by itself, and says so, long
// before the connection is known to be cut.
func TestFrozen(t *testing.T) {
	ctx, x, w := t.Context(), newSite(t), &wire{}
	from, err := topic.Open[point]("p", &topic.Options{Dir: x.a})
	check(t, err)
	defer from.Close()
	check(t, from.Publish(ctx, point{1, 0}))
	x.run(x.a, "topic:p", true)
	x.nc, err = nats.Connect(x.nc.ConnectedUrl(), nats.SetCustomDialer(w), nats.PingInterval(time.Hour))
	check(t, err)
	t.Cleanup(x.nc.Close)
	in := x.run(x.b, "topic:p", false)
	until(t, "a message", func() bool { return in.Stats()[0].Sent == 1 })
	w.frozen.Lock()
	until(t, "503", func() bool { code, _ := ready(in); return code == 503 })
	w.frozen.Unlock()
	check(t, from.Publish(ctx, point{2, 0}))
	until(t, "another", func() bool { return in.Stats()[0].Sent == 2 })
}

// TestRemoved: a mirror that is removed is made anew.
func TestRemoved(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	b, err := shmem.Open[point]("b", &shmem.Options{Dir: x.a})
	check(t, err)
	defer b.Close()
	p, err := topic.Open[point]("t", &topic.Options{Dir: x.a})
	check(t, err)
	defer p.Close()
	q, err := queue.Open[point]("q", &queue.Options{Dir: x.a})
	check(t, err)
	defer q.Close()
	send := func(n int64) {
		check(t, b.Store(ctx, point{n, 0}))
		check(t, p.Publish(ctx, point{n, 0}))
		check(t, q.Send(ctx, point{n, 0}))
	}
	send(1)
	for _, r := range []string{"box:b", "topic:t", "queue:q"} {
		x.run(x.a, r, true)
		x.run(x.b, r, false)
	}
	there := func() bool {
		for _, name := range []string{"b", "t", "q"} {
			if _, err := os.Stat(filepath.Join(x.b, name)); err != nil {
				return false
			}
		}
		return true
	}
	until(t, "the mirrors", there)
	send(2)
	for _, name := range []string{"b", "t", "q"} {
		check(t, shmem.Remove(x.b, name))
	}
	for _, name := range []string{"b", "t", "q"} {
		until(t, name+" again", func() bool {
			send(3)
			_, err := os.Stat(filepath.Join(x.b, name))
			return err == nil
		})
	}
	m, err := shmem.Attach[point]("b", &shmem.Options{Dir: x.b})
	check(t, err)
	defer m.Close()
	until(t, "the value", func() bool { v, err := m.Load(ctx); return err == nil && v.X == 3 })
	to, err := topic.Attach[point]("t", &topic.Options{Dir: x.b})
	check(t, err)
	defer to.Close()
	until(t, "a message", func() bool { v, _, ok := to.Latest(); return ok == nil && v.X == 3 })
}

// TestClosed: a bridge ends with its connection; a name that is no prefix is refused at once.
func TestClosed(t *testing.T) {
	x := newSite(t)
	if _, err := New(x.nc, &Options{Prefix: "a.b"}); err == nil {
		t.Error("prefix a.b")
	}
	b, err := New(x.nc, &Options{Dir: x.a})
	check(t, err)
	check(t, b.Out("box:p"))
	done := make(chan error, 1)
	go func() { done <- b.Run(t.Context()) }()
	x.nc.Close()
	select {
	case err := <-done:
		if !errors.Is(err, nats.ErrConnectionClosed) {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the bridge runs without a connection")
	}
}

// TestWaits: a route that fails is not ready, one that waits for its segment is.
func TestWaits(t *testing.T) {
	x := newSite(t)
	b := x.run(x.a, "box:p", true)
	until(t, "its segment is missed", func() bool { return b.Stats()[0].Err != nil })
	if code, body := ready(b); code != 200 {
		t.Error(code, body)
	}
	b, err := New(x.nc, &Options{Dir: x.a, Prefix: "none", NoSetup: true})
	check(t, err)
	check(t, b.Out("box:p"))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	until(t, "503", func() bool {
		code, body := ready(b)
		return code == 503 && strings.Contains(body, "bucket not found")
	})
	stop()
	check(t, <-done)
}

// TestStop: a bridge that is stopped waits for what is on its way, and not for long where the
// server says nothing any more.
func TestStop(t *testing.T) {
	t.Run("accepted", func(t *testing.T) { testStop(t, true) })
	t.Run("frozen", func(t *testing.T) { testStop(t, false) })
}

func testStop(t *testing.T, accepted bool) {
	ctx, x, w := t.Context(), newSite(t), &wire{}
	q, err := queue.Open[point]("p", &queue.Options{Dir: x.a})
	check(t, err)
	defer q.Close()
	x.nc, err = nats.Connect(x.nc.ConnectedUrl(), nats.SetCustomDialer(w))
	check(t, err)
	defer x.nc.Close()
	b, err := New(x.nc, &Options{Dir: x.a})
	check(t, err)
	check(t, b.Out("queue:p"))
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- b.Run(run) }()
	until(t, "it runs", func() bool { return b.Stats()[0].State == "running" })
	w.frozen.Lock()
	const n = 8
	for range n {
		check(t, q.Send(ctx, point{1, 0}))
	}
	until(t, "messages on their way", func() bool { return b.Stats()[0].InFlight == n })
	stop()
	if !accepted {
		select {
		case err := <-done:
			check(t, err)
		case <-time.After(3 * look):
			t.Error("the bridge waits")
		}
		w.frozen.Unlock()
		return
	}
	time.Sleep(50 * time.Millisecond)
	w.frozen.Unlock()
	check(t, <-done)
	if s := b.Stats()[0]; s.Acked != n || q.Len() != 0 {
		t.Errorf("%d acknowledged, %d left", s.Acked, q.Len())
	}
}
