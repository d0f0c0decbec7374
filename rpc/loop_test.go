package rpc_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

// TestLoopThatPanics: the body of a loop over replies panics, or ends its goroutine. The handler is
// canceled, and the client goes on and can be closed.
func TestLoopThatPanics(t *testing.T) {
	for name, leave := range map[string]func(){
		"panic":  func() { panic("of the loop") },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			dir := shmemtest.Dir(t)
			canceled := make(chan struct{}, 10)
			ended := make(chan error)
			ctx, stop := context.WithCancel(background)
			go func() {
				ended <- rpc.ServeStream(ctx, "s", func(
					ctx context.Context, _ *query, send func(*reply) error,
				) (err error) {
					for n := uint64(0); err == nil; n++ {
						err = send(&reply{Square: n})
					}
					canceled <- struct{}{}
					return err
				}, &rpc.ServeOptions{Dir: dir, Calls: 1})
			}()
			c, err := rpc.DialStream[query, reply](background, "s", &rpc.DialOptions{Dir: dir})
			check(t, err)
			for range 3 {
				over := make(chan struct{})
				go func() {
					defer close(over)
					defer func() { _ = recover() }()
					for range c.Call(background, &query{}) {
						leave()
					}
				}()
				<-over
				<-canceled
			}
			for r, err := range c.Call(background, &query{}) {
				check(t, err)
				if r.Square == 3 {
					break
				}
			}
			<-canceled
			check(t, c.Close())
			stop()
			check(t, <-ended)
		})
	}
}
