package rpc_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

// TestSlowAfterQuick: after many quick handlers one blocks, which the goroutine runs that waits for
// calls. Other calls go on, and the cancellation of that call reaches its handler, with one handler
// at a time too.
func TestSlowAfterQuick(t *testing.T) {
	for _, handlers := range []int{1, 4} {
		dir := shmemtest.Dir(t)
		begun, ended := make(chan bool), make(chan error, 1)
		serve(t, dir, rpc.ServeOptions{Calls: 4, Handlers: handlers}, func(
			ctx context.Context, q *query, r *reply,
		) error {
			if q.Do == block {
				begun <- true
				<-ctx.Done()
				ended <- ctx.Err()
			}
			return handle(ctx, q, r)
		})
		c := dial[query, reply](t, dir, rpc.DialOptions{})
		for range 20 {
			quick(t, c, 40)
			ctx, cancel := context.WithCancel(background)
			got := make(chan error, 1)
			go func() { got <- c.Call(ctx, &query{Do: block}, new(reply)) }()
			<-begun
			if handlers > 1 {
				var all sync.WaitGroup
				for range 3 {
					all.Go(func() { quick(t, c, 2) })
				}
				all.Wait()
			}
			cancel()
			if err := <-got; !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
	}
}

// quick makes calls whose handlers do little.
func quick(t *testing.T, c *rpc.Client[query, reply], n uint64) {
	t.Helper()
	for n := range n {
		var r reply
		if err := c.Call(background, &query{N: n}, &r); err != nil || r.Square != n*n {
			t.Errorf("%+v for %d, %v", r, n, err)
		}
	}
}

// TestContext: a context of a handler is as those of the standard library, though it is made of
// them only when it is needed.
func TestContext(t *testing.T) {
	dir := shmemtest.Dir(t)
	kept := make(chan context.Context, 1)
	serve(t, dir, rpc.ServeOptions{}, func(ctx context.Context, q *query, r *reply) error {
		if ctx.Err() != nil {
			t.Error(ctx.Err())
		}
		derived, cancel := context.WithCancel(ctx)
		if q.N == 1 { // the context of the call ends this one
			kept <- derived
			_ = cancel
			return nil
		}
		cancel()
		kept <- ctx
		return nil
	})
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	for n := range uint64(2) {
		check(t, c.Call(background, &query{N: n}, new(reply)))
		ctx := <-kept
		<-ctx.Done()
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Error(ctx.Err())
		}
	}
}

// TestGoexit: the call of a handler that ends its goroutine fails, and others go on, whether the
// goroutine waits for calls itself or not, and with one handler at a time too.
func TestGoexit(t *testing.T) {
	for _, handlers := range []int{1, 4} {
		dir := shmemtest.Dir(t)
		serve(t, dir, rpc.ServeOptions{Calls: 4, Handlers: handlers}, func(
			ctx context.Context, q *query, r *reply,
		) error {
			if q.Do == exit {
				runtime.Goexit()
			}
			return handle(ctx, q, r)
		})
		c := dial[query, reply](t, dir, rpc.DialOptions{})
		for i := range uint64(20) {
			quick(t, c, 1+i%3*10)
			ctx, cancel := context.WithTimeout(background, time.Minute)
			var h *rpc.HandlerError
			if err := c.Call(ctx, &query{Do: exit}, new(reply)); !errors.As(err, &h) {
				t.Fatal(err)
			}
			cancel()
		}
	}
}
