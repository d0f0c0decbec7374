package main

import (
	"context"
	"strings"
	"testing"

	"github.com/shmembox/shmem/rpc"
)

// TestCalls: ls and stat know a service.
func TestCalls(t *testing.T) {
	dir, bin := interruptible(t)
	ctx, cancel := context.WithCancel(context.Background())
	type query struct{ N int64 }
	begun, release := make(chan bool), make(chan bool)
	ended := make(chan error, 1)
	go func() {
		ended <- rpc.Serve(ctx, "squares", func(_ context.Context, q *query, r *int64) error {
			begun <- true
			<-release
			*r = q.N * q.N
			return nil
		}, &rpc.ServeOptions{Dir: dir})
	}()
	c, err := rpc.Dial[query, int64](ctx, "squares", &rpc.DialOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan error, 1)
	go func() { called <- c.Call(ctx, &query{N: 3}, new(int64)) }()
	<-begun
	code, ls, _ := runIn(t, bin, dir, "ls")
	if code != 0 || !strings.Contains(ls, "rpc.Service") {
		t.Errorf("%d\n%s", code, ls)
	}
	code, stat, _ := runIn(t, bin, dir, "stat", "squares")
	if want := "1 of 64 calls: 0 waiting, 1 running; 1 server, 1 client with"; code != 0 ||
		!strings.Contains(stat, want) {
		t.Errorf("%d\n%s", code, stat)
	}
	release <- true
	if err := <-called; err != nil {
		t.Error(err)
	}
	code, stat, _ = runIn(t, bin, dir, "stat", "--json", "squares")
	if code != 0 || !strings.Contains(stat, `"handled": 1`) {
		t.Errorf("%d\n%s", code, stat)
	}
	_ = c.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
