//go:build linux

package rpc_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/shmembox/shmem/rpc"
)

// The server and the client are usually different processes.
func Example() {
	type Query struct{ N int64 }
	type Reply struct{ Square int64 }
	name := fmt.Sprint("example-rpc-", os.Getpid())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- rpc.Serve(ctx, name, func(_ context.Context, q *Query, r *Reply) error {
			r.Square = q.N * q.N
			return nil
		}, nil)
	}()
	squares, err := rpc.Dial[Query, Reply](ctx, name, nil)
	if err != nil {
		log.Fatal(err)
	}
	var r Reply
	err = squares.Call(ctx, &Query{N: 7}, &r)
	fmt.Println(r.Square, err)
	_ = squares.Close()
	cancel()
	fmt.Println(<-ended)
	// Output:
	// 49 <nil>
	// <nil>
}

// A service of any number of replies.
func ExampleServeStream() {
	name := fmt.Sprint("example-stream-", os.Getpid())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- rpc.ServeStream(ctx, name,
			func(_ context.Context, from *int64, send func(*int64) error) error {
				for n := *from; n > 0; n-- {
					if err := send(&n); err != nil {
						return err
					}
				}
				return nil
			}, nil)
	}()
	countdown, err := rpc.DialStream[int64, int64](ctx, name, nil)
	if err != nil {
		log.Fatal(err)
	}
	from := int64(3)
	for n, err := range countdown.Call(ctx, &from) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(*n)
	}
	_ = countdown.Close()
	cancel()
	fmt.Println(<-ended)
	// Output:
	// 3
	// 2
	// 1
	// <nil>
}
