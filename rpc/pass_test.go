package rpc_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/step"
	shmwait "github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "endingserver", Run: endingServer},
		shmemtest.Role{Name: "patientserver", Run: patientServer},
		shmemtest.Role{Name: "latecaller", Run: lateCaller})
}

// endingServer ends when it is told to, at the moment in which it wakes up for a call, while a
// handler runs.
func endingServer(c *shmemtest.Conn) error {
	shmwait.LookLate(time.Hour)
	ctx, stop := context.WithCancel(background)
	var ends atomic.Bool
	step.Hook(func(p step.Point) {
		if p == step.WaitLeave && ends.Load() {
			stop()
		}
	})
	go func() {
		if _, err := c.Recv(); err == nil {
			ends.Store(true)
			c.Send("ends")
		}
	}()
	return rpc.Serve(ctx, "s", func(ctx context.Context, q *query, r *reply) error {
		if q.Do == block {
			c.Send("begun")
		}
		return handle(ctx, q, r)
	}, &rpc.ServeOptions{Dir: c.Args()[0], Calls: 4, Grace: time.Hour})
}

// patientServer says when it sleeps.
func patientServer(c *shmemtest.Conn) error {
	shmwait.LookLate(time.Hour)
	slept := sync.OnceFunc(func() { c.Send("sleeps") })
	step.Hook(func(p step.Point) {
		if p == step.WaitSleep {
			slept()
		}
	})
	return rpc.Serve(background, "s", handle, &rpc.ServeOptions{Dir: c.Args()[0], Calls: 4})
}

// lateCaller makes a call, and wakes a server for it when it is told to.
func lateCaller(c *shmemtest.Conn) error {
	shmwait.LookLate(time.Hour)
	step.Hook(func(p step.Point) {
		if p == step.CallMarked {
			c.Send("marked")
			_, _ = c.Recv()
		}
	})
	d, err := rpc.Dial[query, reply](background, "s", &rpc.DialOptions{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(background, longWait)
	defer cancel()
	var r reply
	err = d.Call(ctx, &query{N: 3}, &r)
	c.Send("%d, %v", r.Square, err)
	return d.Close()
}

// TestEndPassesOn: a server that is woken for a call and ends lets another server take it, while
// its own handlers still run.
func TestEndPassesOn(t *testing.T) {
	dir := shmemtest.Dir(t)
	first := shmemtest.Start(t, "endingserver", dir)
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	calling, giveUp := context.WithCancel(background)
	got := make(chan error, 1)
	go func() { got <- c.Call(calling, &query{Do: block}, new(reply)) }()
	first.Expect(t, "begun")
	second := shmemtest.Start(t, "patientserver", dir)
	second.Expect(t, "sleeps")
	// A waker begins with the slot behind its own: with that of the first server.
	caller := shmemtest.Start(t, "latecaller", dir)
	caller.Expect(t, "marked")
	check(t, first.Send("end"))
	first.Expect(t, "ends")
	check(t, caller.Send("wake"))
	caller.Expect(t, "9, <nil>")
	giveUp()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	check(t, first.Wait())
}
