package rpc_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "plainServer", Run: plainServer})
}

// plainServer serves until it is killed.
func plainServer(c *shmemtest.Conn) error {
	return rpc.Serve(background, "s", handle, &rpc.ServeOptions{Dir: c.Args()[0]})
}

// squares makes calls with so many goroutines until ctx is done. It returns a function that waits
// for them, and returns how many calls there were.
func squares(
	ctx context.Context, t *testing.T, c *rpc.Client[query, reply], callers int,
) (wait func() int64) {
	var wg sync.WaitGroup
	var calls atomic.Int64
	for i := range callers {
		wg.Go(func() {
			for n := uint64(i); ctx.Err() == nil; n++ {
				var r reply
				patient, cancel := context.WithTimeout(background, longWait)
				err := c.Call(patient, &query{N: n}, &r)
				cancel()
				if err != nil || r.Square != n*n {
					t.Errorf("%+v for %d, %v", r, n, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	return func() int64 {
		wg.Wait()
		return calls.Load()
	}
}

// TestRestartUnderCalls: servers end and are followed by others, which have begun before. No call
// fails, though the client neither waits for servers nor makes calls again.
func TestRestartUnderCalls(t *testing.T) {
	dir := shmemtest.Dir(t)
	var ran atomic.Int64
	begin := func() (end func()) {
		ctx, cancel := context.WithCancel(background)
		ended := make(chan error, 1)
		go func() {
			ended <- rpc.Serve(ctx, "s", func(ctx context.Context, q *query, r *reply) error {
				if ran.Add(1)%50 == 0 { // one that is not quick
					time.Sleep(300 * time.Microsecond)
				}
				return handle(ctx, q, r)
			}, &rpc.ServeOptions{Dir: dir, Calls: 16})
		}()
		return func() {
			cancel()
			check(t, <-ended)
		}
	}
	end := begin()
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	ctx, stop := context.WithCancel(background)
	calls := squares(ctx, t, c, 20)
	for range 20 {
		next := begin()
		waitForStats(t, dir, func(st *inspect.CallStats) bool { return st.Servers == 2 })
		end()
		end = next
	}
	stop()
	if n := calls(); n != ran.Load() {
		t.Errorf("%d calls had a reply, and %d handlers ran", n, ran.Load())
	}
	end()
}

// TestStoppedServer: while one of two servers is stopped the other one has all calls.
func TestStoppedServer(t *testing.T) {
	dir := shmemtest.Dir(t)
	first := shmemtest.Start(t, "plainServer", dir)
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	second := shmemtest.Start(t, "plainServer", dir)
	waitForStats(t, dir, func(st *inspect.CallStats) bool { return st.Servers == 2 })
	for i, callers := range []int{1, 1, 32, 32} {
		s := []*shmemtest.Child{first, second}[i%2] // the rings begin at one of them
		waitForStats(t, dir, func(st *inspect.CallStats) bool { return st.Running == 0 })
		check(t, s.Stop())
		for range 20 {
			ctx, cancel := context.WithCancel(background)
			time.AfterFunc(time.Millisecond, cancel)
			squares(ctx, t, c, callers)()
		}
		check(t, s.Continue())
	}
	first.Kill()
	second.Kill()
}
