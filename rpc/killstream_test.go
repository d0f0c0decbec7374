package rpc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "busyserver", Run: busyServer},
		shmemtest.Role{Name: "streamserver", Run: streamServer},
		shmemtest.Role{Name: "streamclient", Run: streamClient})
}

// busyServer runs one handler at a time, and has room for another call.
func busyServer(c *shmemtest.Conn) error {
	return rpc.Serve(background, "s", func(ctx context.Context, q *query, r *reply) error {
		if q.Do == block {
			c.Send("begun")
		}
		return handle(ctx, q, r)
	}, &rpc.ServeOptions{Dir: c.Args()[0], Calls: 2, Handlers: 1})
}

// TestKillServerBeforeBegun kills a server while a call waits for it.
func TestKillServerBeforeBegun(t *testing.T) {
	for _, waits := range []bool{false, true} {
		if robust.RaceEnabled && waits {
			break
		}
		dir := shmemtest.Dir(t)
		s := shmemtest.Start(t, "busyserver", dir)
		d := dial[query, reply](t, dir, rpc.DialOptions{WaitForServer: waits})
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- d.Call(background, &query{Do: block}, new(reply)) }()
		s.Expect(t, "begun")
		var r reply
		go func() { second <- d.Call(background, &query{N: 6}, &r) }()
		waitForCalls(t, dir, 1)
		s.Kill()
		if err := <-first; !errors.Is(err, rpc.ErrServerDied) {
			t.Error(err)
		}
		if waits {
			next := shmemtest.Start(t, "busyserver", dir)
			if err := <-second; err != nil || r.Square != 36 {
				t.Errorf("%+v, %v", r, err)
			}
			next.Kill()
		} else if err := <-second; !errors.Is(err, rpc.ErrNoServer) {
			t.Error(err)
		}
	}
}

// waitForCalls waits until n calls wait for a server.
func waitForCalls(t *testing.T, dir string, n int) {
	t.Helper()
	waitForStats(t, dir, func(st *inspect.CallStats) bool { return st.Waiting == n })
}

// waitForStats waits until ok reports true.
func waitForStats(t *testing.T, dir string, ok func(*inspect.CallStats) bool) {
	t.Helper()
	o, err := inspect.Open(dir, "s")
	check(t, err)
	defer o.Close()
	for end := time.Now().Add(longWait); ; time.Sleep(time.Millisecond) {
		st, err := o.CallStats()
		check(t, err)
		if ok(st) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", st)
		}
	}
}

// streamServer sends N replies, and then, with block, waits until its context is done.
func streamServer(c *shmemtest.Conn) error {
	return rpc.ServeStream(background, "s", func(
		ctx context.Context, q *query, send func(*reply) error,
	) error {
		c.Send("begun")
		for n := range q.N {
			if err := send(&reply{Square: n}); err != nil {
				c.Send("canceled")
				return err
			}
		}
		if q.Do == block {
			c.Send("sent")
			<-ctx.Done()
			c.Send("canceled")
		}
		return ctx.Err()
	}, &rpc.ServeOptions{Dir: c.Args()[0], Calls: 1})
}

// streamClient reads one reply of a stream, and stays in the loop.
func streamClient(c *shmemtest.Conn) error {
	d, err := rpc.DialStream[query, reply](background, "s", &rpc.DialOptions{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	for _, err := range d.Call(background, &query{N: 1 << 40}) {
		if err != nil {
			return err
		}
		c.Send("got")
		select {}
	}
	return nil
}

// replies reads a stream to its end, and checks that no reply comes twice.
func replies(t *testing.T, d *rpc.StreamClient[query, reply], q query) (n uint64, last error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(background, longWait)
	defer cancel()
	for r, err := range d.Call(ctx, &q) {
		if err != nil {
			return n, err
		}
		if r.Square != n {
			t.Errorf("reply %d, want %d", r.Square, n)
		}
		n++
	}
	return n, nil
}

// TestKillStream kills a server in the middle of a stream, and a client for whose replies the
// handler has no room.
func TestKillStream(t *testing.T) {
	dir := shmemtest.Dir(t)
	s := shmemtest.Start(t, "streamserver", dir)
	d, err := rpc.DialStream[query, reply](background, "s",
		&rpc.DialOptions{Dir: dir, Idempotent: true, WaitForServer: true})
	check(t, err)
	defer d.Close()
	for _, sent := range []uint64{3, 0} { // with replies the call is not made again
		type end struct {
			n   uint64
			err error
		}
		got := make(chan end, 1)
		go func() {
			n, err := replies(t, d, query{N: sent, Do: block})
			got <- end{n, err}
		}()
		s.Expect(t, "begun")
		s.Expect(t, "sent")
		s.Kill()
		s = shmemtest.Start(t, "streamserver", dir)
		if sent == 0 {
			s.Expect(t, "begun")
			s.Expect(t, "sent")
			s.Kill()
			s = shmemtest.Start(t, "streamserver", dir)
			s.Expect(t, "begun")
			s.Expect(t, "sent")
			check(t, d.Close())
			s.Expect(t, "canceled")
			<-got
			break
		}
		if e := <-got; e.n != sent || !errors.Is(e.err, rpc.ErrServerDied) {
			t.Errorf("%d replies, %v", e.n, e.err)
		}
	}
	victim := shmemtest.Start(t, "streamclient", dir)
	s.Expect(t, "begun")
	victim.Expect(t, "got")
	time.Sleep(20 * time.Millisecond) // until the handler has no room
	victim.Kill()
	s.Expect(t, "canceled")
	d, err = rpc.DialStream[query, reply](background, "s", &rpc.DialOptions{Dir: dir})
	check(t, err)
	defer d.Close()
	if n, err := replies(t, d, query{N: 5}); n != 5 || err != nil {
		t.Errorf("%d replies, %v", n, err)
	}
	s.Kill()
}
