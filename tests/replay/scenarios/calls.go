//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/tests/replay/oracle"
	"github.com/shmembox/shmem/tests/replay/world"
)

type (
	addend struct{ N uint64 }
	before struct{ Was uint64 }
)

// adders: clients let servers add to a number that all servers have. Their calls are linearizable:
// a call whose server died has added or not, and one that found no server has not. The last client
// and the last server stay alive.
func adders(clients, servers, each int) func(r *world.Run) {
	return func(r *world.Run) {
		var h oracle.History
		var number uint64
		var ends []*world.Context
		joined := map[*world.Process]bool{}
		step.Hook(func(p step.Point) {
			if p == step.CallJoined {
				joined[world.Current()] = true
			}
		})
		var serving []*world.Thread
		var servants []*world.Process
		// Dial looks from time to time for a service, and so does a call for the death of a server
		// that has come since it began. So the calls begin when all servers serve or are dead.
		ready := func() bool {
			for i, t := range serving {
				if !joined[servants[i]] && !t.Done() {
					return false
				}
			}
			step.Hook(nil)
			return true
		}
		for i := range servers {
			p := r.Process(fmt.Sprintf("S%d", i))
			if i == servers-1 {
				p.Spare()
			}
			servants = append(servants, p)
			ctx := p.Cancelable()
			ends = append(ends, ctx)
			serving = append(serving, p.Go("serve", func() {
				err := rpc.Serve(ctx, "calls", func(_ context.Context, q *addend, r *before) error {
					world.Yield("in the handler")
					r.Was = number
					number += q.N
					world.Yield("in the handler")
					return nil
				}, &rpc.ServeOptions{Calls: 2, Handlers: 1, Slots: 8})
				if !errors.Is(err, context.Canceled) { // before the service was opened
					must(err, "Serve")
				}
			}))
		}
		var callers []*world.Thread
		for i := range clients {
			p := r.Process(fmt.Sprintf("C%d", i))
			if i == clients-1 {
				p.Spare()
			}
			callers = append(callers, p.Go("main", func() {
				world.Await(ready)
				callAdders(&h, i, each)
			}))
			if i == clients-1 {
				p.Go("end", func() {
					for _, t := range callers {
						world.Await(t.Done)
					}
					for _, ctx := range ends {
						ctx.Cancel()
					}
				})
			}
		}
		r.Check(func() error { h.Check(oracle.Register); return nil })
	}
}

// callAdders makes n calls.
func callAdders(h *oracle.History, client, n int) {
	c, err := rpc.Dial[addend, before](background, "calls", nil)
	must(err, "Dial")
	for k := range n {
		change := oracle.Change{Add: true, N: uint64(10*client + k + 1)}
		call := h.Call(client, change)
		var r before
		switch err := c.Call(background, &addend{change.N}, &r); {
		case err == nil:
			h.Return(call, r.Was)
		case errors.Is(err, rpc.ErrNoServer):
			h.Drop(call)
		case errors.Is(err, rpc.ErrServerDied):
			// it may have added
		default:
			must(err, "Call")
		}
	}
	must(c.Close(), "Close")
}

// crew: a server runs handlers on the watch from the first call on. Clients call handlers that are
// quick, and one that waits until all other calls are over. One of these begins after it. None of
// the waits may need a look, other than that of the standby.
func crew(r *world.Run) {
	server, client := r.Process("S").Spare(), r.Process("C").Spare()
	const all = 4
	slow, quick, ended := false, 0, 0
	stop := serveCrew(server, func(n uint64) {
		if n == 0 {
			slow = true
			world.Await(func() bool { return quick == all })
		}
		world.Yield("in the handler")
	})
	call := dialCrew(client)
	end := func() {
		if ended++; ended == 3 {
			stop()
		}
	}
	callQuick := func(n uint64) {
		call(n)
		quick++
	}
	client.Go("slow", func() {
		callQuick(1)
		if world.Choose(2) == 1 {
			world.Sleep(time.Millisecond) // the standby goes to sleep
		}
		call(0)
		end()
	})
	client.Go("before", func() {
		callQuick(2)
		callQuick(3)
		end()
	})
	client.Go("after", func() {
		world.Await(func() bool { return slow })
		callQuick(4)
		end()
	})
}

// owed: goroutines of one process call at a time, and leave it to each other to ring the server.
func owed(r *world.Run) {
	server, client := r.Process("S").Spare(), r.Process("C").Spare()
	ended := 0
	stop := serveCrew(server, func(uint64) {})
	call := dialCrew(client)
	for k := range uint64(3) {
		client.Go("main", func() {
			call(2*k + 1)
			call(2*k + 2)
			if ended++; ended == 3 {
				stop()
			}
		})
	}
}

// streams: an idempotent client reads streams of three replies from two servers, of which one dies.
// A stream has all replies in order, or ends with ErrServerDied after the first one.
func streams(r *world.Run) {
	const length = 3
	client := r.Process("C").Spare()
	over := false
	var ends []*world.Context
	for i := range 2 {
		p := r.Process(fmt.Sprintf("S%d", i))
		if i == 1 {
			p.Spare()
		}
		ctx := p.Cancelable()
		ends = append(ends, ctx)
		p.Go("serve", func() {
			err := rpc.ServeStream(ctx, "calls", func(
				_ context.Context, _ *addend, send func(*before) error,
			) error {
				for n := range uint64(length) {
					if err := send(&before{n}); err != nil {
						return err
					}
				}
				return nil
			}, &rpc.ServeOptions{Calls: 2, Slots: 8})
			if !over || !errors.Is(err, context.Canceled) {
				must(err, "ServeStream")
			}
		})
	}
	client.Go("main", func() {
		c, err := rpc.DialStream[addend, before](background, "calls",
			&rpc.DialOptions{Idempotent: true, WaitForServer: true})
		must(err, "DialStream")
		for range 2 {
			n := uint64(0)
			for reply, err := range c.Call(background, &addend{}) {
				if errors.Is(err, rpc.ErrServerDied) && n > 0 {
					n = length
					break
				}
				must(err, "Call")
				if reply.Was != n {
					world.Fail("reply %d in the place of %d", reply.Was, n)
				}
				n++
			}
			if n != length {
				world.Fail("the stream ended after %d replies", n)
			}
		}
		must(c.Close(), "Close")
		over = true
		for _, ctx := range ends {
			ctx.Cancel()
		}
	})
}

// serveCrew serves a handler that calls f with the number of the call. It returns what ends that.
func serveCrew(p *world.Process, f func(n uint64)) (stop func()) {
	ctx := p.Cancelable()
	p.Go("serve", func() {
		must(rpc.Serve(ctx, "calls", func(_ context.Context, q *addend, r *before) error {
			f(q.N)
			r.Was = q.N + 1
			return nil
		}, &rpc.ServeOptions{Calls: 4, Slots: 8}), "Serve")
	})
	return ctx.Cancel
}

// dialCrew returns a function that makes a call of a number, when the service is there.
func dialCrew(p *world.Process) func(n uint64) {
	var c *rpc.Client[addend, before]
	joined := false
	step.Hook(func(p step.Point) { joined = joined || p == step.CallJoined })
	p.Go("dial", func() {
		world.Await(func() bool { return joined })
		var err error
		c, err = rpc.Dial[addend, before](background, "calls", nil)
		must(err, "Dial")
	})
	return func(n uint64) {
		world.Await(func() bool { return c != nil })
		var r before
		must(c.Call(background, &addend{n}, &r), "Call")
		if r.Was != n+1 {
			world.Fail("the call of %d got the reply of %d", n, r.Was-1)
		}
	}
}

func init() {
	scenario("calls", world.Config{Stops: 1}, adders(2, 1, 2))
	// The second death can be that of the process that watches for the first one.
	scenario("calls-kill", world.Config{Kills: 2, Idle: looked}, adders(2, 2, 2))
	scenario("calls-kill-one", world.Config{Kills: 1}, adders(2, 2, 2))
	scenario("calls-streams", world.Config{Kills: 1, Idle: looked}, streams)
	onWatch := map[string]any{"rpc.trusted": int32(0)}
	crewIdle := 3 * time.Millisecond // the standby needs up to 1 ms to sleep, and 0.4 ms to look
	scenario("calls-crew", world.Config{Vars: onWatch, Idle: crewIdle}, crew)
	scenario("calls-crew-local", world.Config{Vars: onWatch, Idle: crewIdle, Local: true}, crew)
	scenario("calls-owed", world.Config{Vars: onWatch, Local: true}, owed)
}
