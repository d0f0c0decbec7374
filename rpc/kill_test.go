package rpc_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "server", Run: server},
		shmemtest.Role{Name: "client", Run: client})
}

// stopAt lets the process stay at a step, and say so. An empty name is no step.
func stopAt(c *shmemtest.Conn, name string) {
	if name == "" {
		return
	}
	step.Hook(func(p step.Point) {
		if string(p) == name {
			c.Send("reached")
			select {}
		}
	})
}

// server serves "s", and says when a handler begins and when its context is done.
func server(c *shmemtest.Conn) error {
	stopAt(c, c.Args()[1])
	return rpc.Serve(background, "s", func(ctx context.Context, q *query, r *reply) error {
		r.PID = uint64(os.Getpid())
		switch q.Do {
		case block:
			c.Send("begun")
			<-ctx.Done()
			c.Send("canceled")
			return ctx.Err()
		case wait:
			c.Send("begun")
			<-ctx.Done()
		}
		return handle(ctx, q, r)
	}, &rpc.ServeOptions{Dir: c.Args()[0], Calls: 1})
}

// client makes one call.
func client(c *shmemtest.Conn) error {
	d, err := rpc.Dial[query, reply](background, "s", &rpc.DialOptions{
		Dir: c.Args()[0], Idempotent: true, WaitForServer: true,
	})
	if err != nil {
		return err
	}
	stopAt(c, c.Args()[1])
	q := query{N: 5}
	ctx := background
	switch c.Args()[2] {
	case "block":
		q.Do = block
	case "give up": // a deadline would be the handler's too
		q.Do = wait
		for after := 5 * time.Millisecond; ; after *= 2 { // until a server begins the call before
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(after, cancel)
			_ = d.Call(ctx, &q, new(reply))
		}
	}
	err = d.Call(ctx, &q, new(reply))
	c.Send("done %v", err)
	_, err = c.Recv()
	return err
}

// calls checks that a service with one slot works.
func calls(t *testing.T, c *rpc.Client[query, reply]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(background, longWait)
	defer cancel()
	for n := range uint64(3) {
		var r reply
		if err := c.Call(ctx, &query{N: n}, &r); err != nil || r.Square != n*n {
			t.Fatalf("%+v for %d, %v", r, n, err)
		}
	}
}

// The steps at which a client dies, and what it does.
var clientSteps = []struct {
	at   step.Point
	does string
}{
	{step.CallTaken, ""},
	{step.CallWritten, ""},
	{step.CallAsked, ""},
	{step.CallMarked, ""},
	{"", "block"}, // while the handler runs
	{step.CallCanceled, "give up"},
	{step.CallRead, ""},
	{step.CallFreed, ""},
	{step.CallRequeued, "block"},
}

// TestKillClient kills a client at each step of a call. The service has one slot, which is free
// again at once.
func TestKillClient(t *testing.T) {
	for i, c := range clientSteps {
		if robust.RaceEnabled && i > 0 {
			break // the race detector sees nothing in another process, and starts slowly
		}
		t.Run(string(c.at)+" "+c.does, func(t *testing.T) {
			dir := shmemtest.Dir(t)
			s := shmemtest.Start(t, "server", dir, "")
			d := dial[query, reply](t, dir, rpc.DialOptions{WaitForServer: true})
			victim := shmemtest.Start(t, "client", dir, string(c.at), c.does)
			switch {
			case c.at == step.CallRequeued:
				s.Expect(t, "begun")
				s.Kill()
				victim.Expect(t, "reached")
			case c.does == "block":
				s.Expect(t, "begun")
			default:
				victim.Expect(t, "reached")
			}
			victim.Kill()
			switch {
			case c.at == step.CallRequeued:
				s = shmemtest.Start(t, "server", dir, "")
			case c.does == "block":
				s.Expect(t, "canceled")
			}
			calls(t, d)
			s.Kill()
		})
	}
}

// The steps at which a server dies, and what its client sees.
var serverSteps = []struct {
	at   step.Point
	want error
}{
	{step.CallBegun, rpc.ErrServerDied},
	{step.CallClaimed, rpc.ErrServerDied},
	{"", rpc.ErrServerDied}, // in the handler
	{step.CallReplied, rpc.ErrServerDied},
	{step.CallDone, nil},
}

// TestKillServer kills a server at each step of a call. The call is made again where that is
// declared idempotent, and the slot is free.
func TestKillServer(t *testing.T) {
	for i, c := range serverSteps {
		if robust.RaceEnabled && i > 0 {
			break
		}
		for _, idempotent := range []bool{false, true} {
			name := string(c.at)
			if idempotent {
				name += " idempotent"
			}
			t.Run(name, func(t *testing.T) { killServer(t, c.at, c.want, idempotent) })
		}
	}
}

func killServer(t *testing.T, at step.Point, want error, idempotent bool) {
	dir := shmemtest.Dir(t)
	s := shmemtest.Start(t, "server", dir, string(at))
	d := dial[query, reply](t, dir, rpc.DialOptions{Idempotent: idempotent, WaitForServer: idempotent})
	q := query{N: 6}
	if at == "" {
		q.Do = block
	}
	var r reply
	got := make(chan error, 1)
	ctx, cancel := context.WithTimeout(background, longWait)
	defer cancel()
	go func() { got <- d.Call(ctx, &q, &r) }()
	if at == "" {
		s.Expect(t, "begun")
	} else {
		s.Expect(t, "reached")
	}
	s.Kill()
	if idempotent && want != nil {
		s = shmemtest.Start(t, "server", dir, "")
		want = nil
		if at == "" { // again a handler that blocks
			s.Expect(t, "begun")
			cancel()
			s.Expect(t, "canceled")
			want = context.Canceled
		}
	}
	err := <-got
	if !errors.Is(err, want) || err == nil && r.Square != 36 {
		t.Errorf("%+v, %v; want %v", r, err, want)
	}
	if !idempotent {
		err := d.Call(background, &query{}, new(reply))
		if !errors.Is(err, rpc.ErrNoServer) {
			t.Error(err)
		}
	}
	last := shmemtest.Start(t, "server", dir, "")
	dial[query, reply](t, dir, rpc.DialOptions{}) // waits for it
	calls(t, d)
	last.Kill()
	s.Kill()
}

// The steps at which a server dies where no living client waits for the call.
var otherSteps = []step.Point{step.CallDropped, step.CallSwept, step.CallJoined, step.CallCanceled}

// TestKillServerOtherSteps kills servers where no living client waits for the call.
func TestKillServerOtherSteps(t *testing.T) {
	for i, at := range otherSteps {
		if robust.RaceEnabled && i > 0 {
			break
		}
		t.Run(string(at), func(t *testing.T) {
			dir := shmemtest.Dir(t)
			s := shmemtest.Start(t, "server", dir, string(at))
			if at == step.CallJoined {
				s.Expect(t, "reached")
			}
			d := dial[query, reply](t, dir, rpc.DialOptions{WaitForServer: true})
			switch at {
			case step.CallDropped:
				ctx, cancel := context.WithCancel(background)
				got := make(chan error, 1)
				go func() { got <- d.Call(ctx, &query{Do: wait}, new(reply)) }()
				s.Expect(t, "begun")
				cancel()
				if err := <-got; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				s.Expect(t, "reached")
			case step.CallSwept, step.CallCanceled:
				victim := shmemtest.Start(t, "client", dir, "", "block")
				s.Expect(t, "begun")
				victim.Kill()
				for line := ""; line != "reached"; { // the handler may see the end first
					var err error
					if line, err = s.Recv(); err != nil {
						t.Fatal(err)
					}
				}
			}
			s.Kill()
			s = shmemtest.Start(t, "server", dir, "")
			calls(t, d)
			s.Kill()
		})
	}
}

// TestStepsAreKilledAt: the tests above kill at all steps.
func TestStepsAreKilledAt(t *testing.T) {
	reached := map[step.Point]bool{}
	for _, at := range otherSteps {
		reached[at] = true
	}
	for _, c := range clientSteps {
		reached[c.at] = true
	}
	for _, c := range serverSteps {
		reached[c.at] = true
	}
	for _, p := range step.Call {
		if !reached[p] {
			t.Errorf("no process is killed at %s", p)
		}
	}
}
