package shmem

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
)

// A Waitable is something that can be waited for. Queues, receivers and subscriptions are: Wait
// waits until a receiving call has a message, or an end of the stream, to return, and receives
// nothing. A psync.Event is: Wait waits until it is set. [WaitFunc] makes others of functions.
//
// Wait returns nil at once if there is nothing to wait for, also if ctx is done.
type Waitable interface {
	Wait(ctx context.Context) error
}

// A WaitFunc is a Waitable made of a function, such as one that calls Box.Wait.
type WaitFunc func(ctx context.Context) error

// Wait calls f.
func (f WaitFunc) Wait(ctx context.Context) error { return f(ctx) }

// Select waits until one of ws is ready, and returns its index; of several that are ready it
// returns any. Then a call of that one need not block, unless another receiver was faster: use its
// Try method, and Select again if that finds nothing. Select itself receives nothing, so nothing is
// lost when ctx is done.
//
// An error of a Wait, such as ErrClosed or psync.ErrOwnerDied, is returned with its index. The
// other errors have the index -1: that of ctx, and ErrBadOption for a nil ctx or no ws. While
// Select waits it uses a goroutine for each of ws; all of them have ended when it returns.
func Select(ctx context.Context, ws ...Waitable) (int, error) {
	if ctx == nil || len(ws) == 0 {
		return -1, public("select", "", fmt.Errorf("%w: a nil context, or nothing to wait for",
			ErrBadOption))
	}
	looking, cancel := context.WithCancel(context.Background())
	cancel()
	for k, from := 0, rand.IntN(len(ws)); k < len(ws); k++ {
		i := (from + k) % len(ws)
		if err := ws[i].Wait(looking); !errors.Is(err, context.Canceled) {
			return i, err
		}
	}
	if err := ctx.Err(); err != nil {
		return -1, public("select", "", err)
	}
	i, err := selectWaiting(ctx, ws)
	if cause := ctx.Err(); err != nil && cause != nil && errors.Is(err, cause) {
		return -1, public("select", "", cause)
	}
	return i, err
}

// selectWaiting is Select where nothing is ready.
func selectWaiting(ctx context.Context, ws []Waitable) (ready int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var first sync.Once
	ended := make(chan struct{}, len(ws))
	for i, w := range ws {
		go func() {
			e := w.Wait(ctx)
			first.Do(func() {
				ready, err = i, e
				cancel()
			})
			ended <- struct{}{}
		}()
	}
	for range ws {
		<-ended
	}
	return ready, err
}

// Ready returns a channel for a select statement, which gets the result of w.Wait(ctx) and is then
// closed. It receives nothing from w, so nothing is lost if its result is not used. The goroutine
// behind it ends when w is ready or ctx is done; until then w must not be used where it belongs to
// one goroutine.
func Ready(ctx context.Context, w Waitable) <-chan error {
	c := make(chan error, 1)
	go func() {
		c <- w.Wait(ctx)
		close(c)
	}()
	return c
}
