package rpc_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	shmwait "github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "lastreplies", Run: lastReplies}) }

// lastReplies ends servers while a handler runs that waits until the clients have all replies to
// the handlers that have returned. Its process never looks by itself for what rings no bell.
func lastReplies(c *shmemtest.Conn) error {
	shmwait.LookLate(time.Hour)
	for range 20 {
		if err := endWithReplies(c.Args()[0]); err != nil {
			return err
		}
	}
	return nil
}

func endWithReplies(dir string) error {
	ctx, stop := context.WithCancel(background)
	defer stop()
	calling, giveUp := context.WithCancel(background)
	defer giveUp()
	var late error
	var returned, got atomic.Int64
	ended := make(chan error, 1)
	go func() {
		ended <- rpc.Serve(ctx, "s", func(_ context.Context, q *query, r *reply) error {
			if q.Do != block {
				returned.Add(1)
				return nil
			}
			stop()
			for until := time.Now().Add(longWait); got.Load() != returned.Load(); {
				if time.Now().After(until) {
					late = errors.New("a reply was held back")
					break
				}
				time.Sleep(time.Millisecond)
			}
			giveUp() // calls that no server has begun
			return nil
		}, &rpc.ServeOptions{Dir: dir, Calls: 16})
	}()
	d, err := rpc.Dial[query, reply](background, "s", &rpc.DialOptions{Dir: dir, WaitForServer: true})
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := 0; d.Call(calling, &query{}, new(reply)) == nil; n++ {
				got.Add(1)
				if i == 0 && n == 60 {
					_ = d.Call(calling, &query{Do: block}, new(reply))
				}
			}
		})
	}
	err = <-ended
	all.Wait()
	return errors.Join(late, err, d.Close())
}

// TestLastReplies: a server that ends holds no reply back while its last handlers run.
func TestLastReplies(t *testing.T) {
	c := shmemtest.Start(t, "lastreplies", shmemtest.Dir(t))
	check(t, c.Wait())
}
