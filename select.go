package shmem

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/wait"
)

// A Waitable is something that can be waited for. Queues, receivers and subscriptions are: Wait
// waits until a receiving call has a message, or an end of the stream, to return, and receives
// nothing. A psync.Event is: Wait waits until it is set. [Box.ChangedSince] makes one of a box, and
// [WaitFunc] makes others of functions.
//
// Wait returns nil at once if there is nothing to wait for, also if ctx is done.
type Waitable interface {
	Wait(ctx context.Context) error
}

// A WaitFunc is a Waitable made of a function. [Select] may call it several times, also with a
// context that is done: f must not wait then, and must not receive anything.
type WaitFunc func(ctx context.Context) error

// Wait calls f.
func (f WaitFunc) Wait(ctx context.Context) error { return f(ctx) }

// ChangedSince returns a Waitable that is ready when the box's Version is not seen.
func (b *Box[T]) ChangedSince(seen uint64) Waitable {
	return WaitFunc(func(ctx context.Context) error { return b.Wait(ctx, seen) })
}

var errNothing = fmt.Errorf("%w: a nil context, or nothing to wait for; pass both", ErrBadOption)

// Select waits until one of ws is ready, and returns its index; of several that are ready it
// returns any. Then a call of that one need not block, unless another receiver was faster: use its
// Try method, and Select again if that finds nothing. Select itself receives nothing, so nothing is
// lost when ctx is done.
//
// An error of a Wait, such as ErrClosed or psync.ErrOwnerDied, is returned with its index. The
// other errors have the index -1: that of ctx, and ErrBadOption for a nil ctx, no ws or a nil one.
//
// Select calls Wait with a context that is done before it waits. It waits for the Waitables of this
// module without further goroutines. It uses one for each other Waitable, for each of an attachment
// that is read-only, and for all where the kernel is older than Linux 5.16; all of them have ended
// when it returns.
func Select(ctx context.Context, ws ...Waitable) (int, error) {
	if ctx == nil || len(ws) == 0 || slices.Contains(ws, nil) {
		return -1, public("select", "", errNothing)
	}
	s := selection{ctx: ctx, ws: ws, group: wait.NewGroup(len(ws))}
	defer s.group.Close()
	from := rand.IntN(len(ws))
	for k := range ws {
		i := (from + k) % len(ws)
		if err := s.group.Call(i, false, ws[i].Wait); !errors.Is(err, context.Canceled) {
			return i, err
		}
	}
	if err := ctx.Err(); err != nil {
		return -1, public("select", "", err)
	}
	defer s.end()
	for i := range ws {
		if done, err := s.enter(i); done {
			return i, err
		}
	}
	for {
		i, err := s.group.Wait(ctx)
		if err != nil {
			return -1, public("select", "", err)
		}
		if i < 0 {
			return s.result()
		}
		if done, err := s.enter(i); done {
			return i, err
		}
	}
}

// A selection is one call of Select.
type selection struct {
	ctx   context.Context
	ws    []Waitable
	group *wait.Group

	cancel  context.CancelFunc // of the goroutines' context; nil: there are none
	strange context.Context
	ended   chan struct{} // gets one from each of them
	started int
	once    sync.Once
	ready   int   // index of the first of them that has ended; written by once
	err     error // its error; likewise
}

// enter looks whether ws[i] is ready, and waits for it in the group, or else in a goroutine. done
// reports whether it need not wait; err is the result then.
func (s *selection) enter(i int) (done bool, err error) {
	switch err := s.group.Call(i, true, s.ws[i].Wait); {
	case errors.Is(err, errs.Entered):
		return false, nil
	case !errors.Is(err, context.Canceled):
		return true, err
	}
	s.group.Leave(i)
	if s.cancel == nil {
		s.strange, s.cancel = context.WithCancel(s.ctx)
		s.ended = make(chan struct{}, len(s.ws))
	}
	s.started++
	go func() {
		defer func() { s.ended <- struct{}{} }()
		err := s.ws[i].Wait(s.strange)
		s.once.Do(func() {
			s.ready, s.err = i, err
			s.group.Ring()
		})
	}()
	return false, nil
}

// result is that of the first goroutine that has ended.
func (s *selection) result() (int, error) {
	if cause := s.ctx.Err(); s.err != nil && cause != nil && errors.Is(s.err, cause) {
		return -1, public("select", "", cause)
	}
	return s.ready, s.err
}

// end ends the goroutines.
func (s *selection) end() {
	if s.cancel != nil {
		s.cancel()
	}
	for range s.started {
		<-s.ended
	}
}

// Ready returns a channel for a select statement, which gets the result of w.Wait(ctx) and is then
// closed. It receives nothing from w, so nothing is lost if its result is not used. The goroutine
// behind it ends when w is ready or ctx is done; until then w must not be used where it belongs to
// one goroutine. The result is ErrBadOption for a nil w.
func Ready(ctx context.Context, w Waitable) <-chan error {
	c := make(chan error, 1)
	if w == nil {
		c <- public("ready", "", errNothing)
		close(c)
		return c
	}
	go func() {
		c <- w.Wait(ctx)
		close(c)
	}()
	return c
}
