package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

// TestIdempotentNoServer: a call that had begun is not ErrNoServer, which says that no handler ran.
func TestIdempotentNoServer(t *testing.T) {
	dir := shmemtest.Dir(t)
	s := shmemtest.Start(t, "server", dir, "")
	d := dial[query, reply](t, dir, rpc.DialOptions{Idempotent: true})
	got := make(chan error, 1)
	go func() { got <- d.Call(background, &query{Do: block}, new(reply)) }()
	s.Expect(t, "begun")
	s.Kill()
	if err := <-got; !errors.Is(err, rpc.ErrServerDied) || errors.Is(err, rpc.ErrNoServer) {
		t.Error(err)
	}
}

// TestTooLargeOfAnother: the error of a call that a handler makes is a HandlerError.
func TestTooLargeOfAnother(t *testing.T) {
	back, dir := shmemtest.Dir(t), shmemtest.Dir(t)
	serving(t, func(ctx context.Context) error {
		return rpc.ServeBytes(ctx, "s", rpc.Sizes{Request: 8, Reply: 8},
			func(context.Context, []byte, []byte) ([]byte, error) { return make([]byte, 9), nil },
			&rpc.ServeOptions{Dir: back})
	})
	b, err := rpc.DialBytes(background, "s", &rpc.DialOptions{Dir: back})
	check(t, err)
	defer b.Close()
	serve(t, dir, rpc.ServeOptions{}, func(ctx context.Context, _ *query, _ *reply) error {
		_, err := b.Call(ctx, nil, nil)
		return fmt.Errorf("behind: %w", err)
	})
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	err = c.Call(background, &query{}, new(reply))
	var h *rpc.HandlerError
	if !errors.As(err, &h) || errors.Is(err, rpc.ErrTooLarge) {
		t.Error(err)
	}
}

// TestPanicInCall: a call that panics leaves its slot free.
func TestPanicInCall(t *testing.T) {
	dir := shmemtest.Dir(t)
	serve(t, dir, rpc.ServeOptions{Calls: 1}, handle)
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_ = c.Call(background, nil, new(reply))
		}()
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_ = c.Call(background, &query{}, nil)
		}()
	}
	ctx, cancel := context.WithTimeout(background, longWait)
	defer cancel()
	check(t, c.Call(ctx, &query{}, new(reply)))
}
