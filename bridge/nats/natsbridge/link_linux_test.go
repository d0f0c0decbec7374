package natsbridge

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/shmembox/shmem/kv"
)

// TestLateNews: news of a cut that come after a session over the next connection has begun do not
// end it; the session over the connection that was cut ends.
func TestLateNews(t *testing.T) {
	x := newSite(t)
	b, err := New(x.nc, nil)
	check(t, err)
	defer b.link.watch(x.nc)()
	first, end, err := b.link.session(t.Context(), x.nc)
	check(t, err)
	defer end()
	check(t, x.nc.ForceReconnect())
	<-first.Done()
	second, end, err := b.link.session(t.Context(), x.nc)
	check(t, err)
	defer end()
	check(t, x.nc.Flush())
	b.link.change(x.nc)
	if err := second.Err(); err != nil {
		t.Errorf("late news end the session: %v", err)
	}
}

// TestPauses: cuts that follow each other do not make a route wait longer and longer; failures do.
func TestPauses(t *testing.T) {
	cut, failed := shortest, shortest
	for range 10 {
		cut, failed = nextPause(cut, errCut), nextPause(failed, errors.New("refused"))
	}
	if cut != shortest || failed != longest {
		t.Errorf("after ten cuts %v, after ten failures %v", cut, failed)
	}
}

// A gate stands between a client and a server. While it is shut it keeps what the server sends.
type gate struct {
	l      net.Listener
	target string

	mu   sync.Mutex
	shut bool      // guarded by mu
	kept []byte    // guarded by mu
	last time.Time // when the client or the server has sent something; guarded by mu
	to   net.Conn  // the client; guarded by mu
}

func newGate(t *testing.T, url string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	g := &gate{l: l, target: strings.TrimPrefix(url, "nats://")}
	t.Cleanup(func() { _ = l.Close(); g.cut() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.join(c)
		}
	}()
	return g
}

// join passes on what the two ends send, until one of them ends.
func (g *gate) join(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	g.mu.Lock()
	g.to, g.kept = client, nil
	g.mu.Unlock()
	go func() {
		defer func() { _ = client.Close() }()
		b := make([]byte, 64<<10)
		for {
			n, err := server.Read(b)
			if g.fromServer(client, b[:n]); err != nil {
				return
			}
		}
	}()
	_, _ = io.Copy(server, io.TeeReader(client, g))
}

// Write notes that the client sends.
func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = time.Now()
	return len(b), nil
}

func (g *gate) fromServer(client net.Conn, b []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = time.Now()
	if client != g.to {
		return
	}
	if g.shut {
		g.kept = append(g.kept, b...)
		return
	}
	_, _ = client.Write(b)
}

func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.to != nil {
		_ = g.to.Close()
	}
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	if len(g.kept) > 0 && !shut {
		_, _ = g.to.Write(g.kept)
		g.kept = nil
	}
}

// quiet is after which silence of both ends the client has sent all that it can.
const quiet = 40 * time.Millisecond

// pass lets what was kept pass once both ends are quiet. It reports whether there was something.
func (g *gate) pass() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.kept) == 0 || time.Since(g.last) < quiet {
		return false
	}
	_, _ = g.to.Write(g.kept)
	g.kept = nil
	return true
}

// rounds cuts the connection, and counts how many times what the server had sent was let pass until
// f reports true.
func (g *gate) rounds(t *testing.T, connected <-chan struct{}, f func() bool) (n int) {
	t.Helper()
	g.set(true)
	g.cut()
	until(t, "a connection", func() bool { // the client itself does not answer meanwhile
		g.pass()
		return closed(connected)
	})
	until(t, "what was sent during the cut", func() bool {
		if g.pass() {
			n++
		}
		return f()
	})
	g.set(false)
	return n
}

// TestRounds: a map is right again after few round trips, since those that need not follow each
// other are made at once. The least of some counts counts: a process that gets no CPU adds to them.
func TestRounds(t *testing.T) {
	for name, out := range map[string]bool{"out": true, "in": false} {
		t.Run(name, func(t *testing.T) {
			const most = 5
			x := newSite(t)
			g := newGate(t, x.nc.ConnectedUrl())
			connected := make(chan struct{}, 100)
			nc, err := nats.Connect("nats://"+g.l.Addr().String(), nats.MaxReconnects(-1),
				nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0),
				nats.ReconnectHandler(func(*nats.Conn) { connected <- struct{}{} }))
			check(t, err)
			t.Cleanup(nc.Close)
			users, has := x.mirrored(t, nc, out)
			least := most + 1
			for i := int64(1); least > most && i < 10; i++ {
				changed := false
				n := g.rounds(t, connected, func() bool {
					if !changed { // while the connection is cut, or is used for nothing yet
						check(t, users.Set(t.Context(), 1, point{i, 0}))
					}
					changed = true
					return has(i)
				})
				t.Log("round trips:", n)
				least = min(least, n)
			}
			if least > most {
				t.Errorf("%d round trips, want %d at most", least, most)
			}
		})
	}
}

// mirrored runs the two bridges of a map, one of them over nc. It returns the map, and a function
// that reports whether the mirror has a value.
func (x *site) mirrored(
	t *testing.T, nc *nats.Conn, out bool,
) (users *kv.Map[uint64, point], has func(int64) bool) {
	t.Helper()
	users, err := kv.Open[uint64, point]("m", &kv.Options{Dir: x.a})
	check(t, err)
	t.Cleanup(func() { _ = users.Close() })
	direct := x.nc
	for side, dir := range map[bool]string{true: x.a, false: x.b} {
		if x.nc = direct; side == out {
			x.nc = nc
		}
		x.run(dir, "map:m", side)
	}
	check(t, users.Set(t.Context(), 1, point{0, 1}))
	mirror, err := kv.AttachWait[uint64, point](t.Context(), "m",
		&kv.Options{Dir: x.b, Passive: true})
	check(t, err)
	t.Cleanup(func() { _ = mirror.Close() })
	has = func(n int64) bool {
		v, found, _ := mirror.Get(1)
		return found && v.X == n
	}
	until(t, "the value", func() bool { return has(0) })
	return users, has
}
