package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// A call is one way to send or to receive a message of 8 bytes, which fills a quarter of the queue.
type call struct {
	name  string
	waits bool // where the other side has to come first
	do    func(ctx context.Context) error
}

// A form is a kind of queue, used by its own methods or by handles, whatever its messages are.
type form struct {
	sends      []call
	receives   []call
	wait       func(ctx context.Context) error
	next       func(ctx context.Context) (ok bool, err error) // of All
	end        func() error
	closeEnds  []func() error // Close of the handles, sending one first; nil: there are none
	closeQueue func() error
}

var errUser = errors.New("f fails")

func first[T any](all iter.Seq2[T, error]) (ok bool, err error) {
	for _, err = range all {
		return true, err
	}
	return false, nil
}

func second[T any](_ T, err error) error { return err }

// An itemSide and a byteSide are the methods of a queue, or those of its handles.
type (
	itemSends interface {
		Send(context.Context, int64) error
		TrySend(int64) error
		SendFunc(context.Context, func(*int64) error) error
		SendBatch(context.Context, []int64) (int, error)
	}
	itemReceives interface {
		Recv(context.Context) (int64, error)
		TryRecv() (int64, error)
		RecvFunc(context.Context, func(*int64) error) error
		RecvBatch(context.Context, []int64) (int, error)
		Take(context.Context) (*queue.Lease[int64], error)
		TryTake() (*queue.Lease[int64], error)
		Wait(context.Context) error
		All(context.Context) iter.Seq2[int64, error]
	}
	byteSends interface {
		Send(context.Context, []byte) error
		TrySend([]byte) error
		SendFunc(context.Context, int, func([]byte) error) error
		SendBatch(context.Context, [][]byte) (int, error)
	}
	byteReceives interface {
		Recv(context.Context, []byte) ([]byte, error)
		TryRecv([]byte) ([]byte, error)
		RecvFunc(context.Context, func([]byte) error) error
		RecvBatch(context.Context, [][]byte) (int, error)
		Take(context.Context) (*queue.BytesLease, error)
		TryTake() (*queue.BytesLease, error)
		Wait(context.Context) error
		All(context.Context) iter.Seq2[[]byte, error]
	}
)

// done consumes the message of a Take.
func done[L interface{ Done() error }](l L, err error) error {
	if err != nil {
		return err
	}
	return l.Done()
}

func itemForm(s itemSends, r itemReceives, single bool) (f form) {
	one := func(*int64) error { return nil }
	f.sends = []call{
		{"Send", true, func(ctx context.Context) error { return s.Send(ctx, 1) }},
		{"TrySend", false, func(context.Context) error { return s.TrySend(1) }},
		{"SendFunc", true, func(ctx context.Context) error { return s.SendFunc(ctx, one) }},
		{"SendBatch", true, func(ctx context.Context) error {
			return second(s.SendBatch(ctx, []int64{1}))
		}},
	}
	f.receives = []call{
		{"Recv", true, func(ctx context.Context) error { return second(r.Recv(ctx)) }},
		{"TryRecv", false, func(context.Context) error { return second(r.TryRecv()) }},
		{"RecvFunc", true, func(ctx context.Context) error { return r.RecvFunc(ctx, one) }},
		{"RecvBatch", true, func(ctx context.Context) error {
			return second(r.RecvBatch(ctx, make([]int64, 1)))
		}},
	}
	if !single {
		f.receives = append(f.receives,
			call{"Take", true, func(ctx context.Context) error { return done(r.Take(ctx)) }},
			call{"TryTake", false, func(context.Context) error { return done(r.TryTake()) }})
	}
	f.wait = r.Wait
	f.next = func(ctx context.Context) (bool, error) { return first(r.All(ctx)) }
	return f
}

func byteForm(s byteSends, r byteReceives, single bool) (f form) {
	p := make([]byte, 8)
	one := func([]byte) error { return nil }
	f.sends = []call{
		{"Send", true, func(ctx context.Context) error { return s.Send(ctx, p) }},
		{"TrySend", false, func(context.Context) error { return s.TrySend(p) }},
		{"SendFunc", true, func(ctx context.Context) error { return s.SendFunc(ctx, 8, one) }},
		{"SendBatch", true, func(ctx context.Context) error {
			return second(s.SendBatch(ctx, [][]byte{p}))
		}},
	}
	f.receives = []call{
		{"Recv", true, func(ctx context.Context) error { return second(r.Recv(ctx, nil)) }},
		{"TryRecv", false, func(context.Context) error { return second(r.TryRecv(nil)) }},
		{"RecvFunc", true, func(ctx context.Context) error { return r.RecvFunc(ctx, one) }},
		{"RecvBatch", true, func(ctx context.Context) error {
			return second(r.RecvBatch(ctx, make([][]byte, 1)))
		}},
	}
	if !single {
		f.receives = append(f.receives,
			call{"Take", true, func(ctx context.Context) error { return done(r.Take(ctx)) }},
			call{"TryTake", false, func(context.Context) error { return done(r.TryTake()) }})
	}
	f.wait = r.Wait
	f.next = func(ctx context.Context) (bool, error) { return first(r.All(ctx)) }
	return f
}

// allForms runs a test with every form: of items and bytes, Single or not, by methods of the queue
// and by handles. The queue has room for 4 messages.
func allForms(t *testing.T, test func(t *testing.T, f form)) {
	for _, handles := range []bool{false, true} {
		for _, single := range []bool{false, true} {
			name := fmt.Sprintf("single=%v,handles=%v", single, handles)
			t.Run("items,"+name, func(t *testing.T) {
				q := open[int64](t, shmemtest.Dir(t), shaped(single, 4))
				f := itemForm(q, q, single)
				if handles {
					s, err := q.Sender()
					check(t, err)
					r, err := q.Receiver()
					check(t, err)
					f = itemForm(s, r, single)
					f.closeEnds = []func() error{s.Close, r.Close}
				}
				f.end, f.closeQueue = q.End, q.Close
				test(t, f)
			})
			t.Run("bytes,"+name, func(t *testing.T) {
				q := openBytes(t, shmemtest.Dir(t), func(o *queue.BytesOptions) {
					o.Single, o.Capacity, o.Bytes = single, 4, 64 // with headers 4 times 16
				})
				f := byteForm(q, q, single)
				if handles {
					s, err := q.Sender()
					check(t, err)
					r, err := q.Receiver()
					check(t, err)
					f = byteForm(s, r, single)
					f.closeEnds = []func() error{s.Close, r.Close}
				}
				f.end, f.closeQueue = q.End, q.Close
				test(t, f)
			})
		}
	}
}

// fill makes every sending call wait.
func (f form) fill(t *testing.T) {
	t.Helper()
	for n := 0; ; n++ {
		if err := f.sends[1].do(background); errors.Is(err, queue.ErrFull) {
			if n != 4 {
				t.Fatalf("there was room for %d messages, want 4", n)
			}
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// each runs a call in a test of its own name, and wants its error.
func each(t *testing.T, calls []call, ctx context.Context, cause error) {
	t.Helper()
	for _, c := range calls {
		want := cause
		if !c.waits && cause != nil && !errors.Is(cause, shmem.ErrClosed) &&
			!errors.Is(cause, queue.ErrEnded) && cause != io.EOF {
			continue // a call that does not block does not look at ctx
		}
		if err := c.do(ctx); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", c.name, err, want)
		}
	}
}

// TestRuleOfEnd: after End sending calls return ErrEnded, and receiving calls the messages that are
// left and then io.EOF. All ends.
func TestRuleOfEnd(t *testing.T) {
	allForms(t, func(t *testing.T, f form) {
		for _, c := range f.receives {
			check(t, f.sends[0].do(background))
			check(t, c.do(background))
		}
		check(t, f.sends[0].do(background))
		check(t, f.end())
		each(t, f.sends, background, queue.ErrEnded)
		check(t, f.wait(background))
		check(t, f.receives[0].do(background))
		each(t, f.receives, background, io.EOF)
		check(t, f.wait(background))
		if ok, err := f.next(background); ok || err != nil {
			t.Errorf("All: %v, %v", ok, err)
		}
	})
}

// TestRuleOfContexts: a call looks at its context where it waits, and not before; All looks at it
// before everything else. A nil context is ErrBadOption where it is looked at.
func TestRuleOfContexts(t *testing.T) {
	canceled, cancel := context.WithCancel(background)
	cancel()
	for _, c := range []struct {
		name  string
		ctx   context.Context
		cause error
	}{{"canceled", canceled, context.Canceled}, {"nil", nil, shmem.ErrBadOption}} {
		t.Run(c.name, func(t *testing.T) {
			allForms(t, func(t *testing.T, f form) {
				each(t, f.receives, c.ctx, c.cause)
				want(t, f.wait(c.ctx), c.cause)
				for i := range f.receives { // there is room, and then a message
					check(t, f.sends[i%len(f.sends)].do(c.ctx))
					check(t, f.wait(c.ctx))
					check(t, f.receives[i].do(c.ctx))
				}
				f.fill(t)
				each(t, f.sends, c.ctx, c.cause)
				if ok, err := f.next(c.ctx); !ok || !errors.Is(err, c.cause) {
					t.Errorf("All, with messages: %v, %v", ok, err)
				}
				for range 4 {
					check(t, f.receives[1].do(c.ctx))
				}
				check(t, f.end())
				each(t, f.receives, c.ctx, io.EOF)
				if ok, err := f.next(c.ctx); !ok || !errors.Is(err, c.cause) {
					t.Errorf("All, at the end: %v, %v", ok, err)
				}
			})
		})
	}
}

// TestRuleOfClose: calls of a closed handle or queue return ErrClosed, and a second Close nil. They
// do so before they look at the context.
func TestRuleOfClose(t *testing.T) {
	allForms(t, func(t *testing.T, f form) {
		check(t, f.sends[0].do(background))
		for _, c := range append(f.closeEnds, f.closeQueue) {
			check(t, c())
			check(t, c())
			if f.closeEnds != nil {
				each(t, f.sends, nil, shmem.ErrClosed)
			}
		}
		each(t, f.sends, nil, shmem.ErrClosed)
		each(t, f.receives, nil, shmem.ErrClosed)
		want(t, f.wait(background), shmem.ErrClosed)
		if ok, err := f.next(background); !ok || !errors.Is(err, shmem.ErrClosed) {
			t.Errorf("All: %v, %v", ok, err)
		}
	})
}

// TestRuleOfCloseWhileWaiting: Close ends a call that waits, in another goroutine, with ErrClosed.
func TestRuleOfCloseWhileWaiting(t *testing.T) {
	const sending, receiving = 0, 1
	closes := func(f form, end int) func() error {
		if f.closeEnds == nil {
			return f.closeQueue
		}
		return f.closeEnds[end]
	}
	for i := range 9 {
		allForms(t, func(t *testing.T, f form) {
			var waiting call
			end := closes(f, receiving)
			switch {
			case i < 4:
				if waiting = f.sends[i]; waiting.waits {
					f.fill(t)
				}
				end = closes(f, sending)
			case i-4 < len(f.receives):
				waiting = f.receives[i-4]
			}
			if i == 8 {
				waiting = call{"Wait", true, f.wait}
			}
			if !waiting.waits {
				return
			}
			got := make(chan error, 1)
			go func() { got <- waiting.do(background) }()
			time.Sleep(time.Duration(i%3) * time.Millisecond / 2) // it parks, or is about to
			check(t, end())
			select {
			case err := <-got:
				if !errors.Is(err, shmem.ErrClosed) {
					t.Errorf("%s: %v, want ErrClosed", waiting.name, err)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("%s still waits", waiting.name)
			}
		})
	}
}

// TestRuleOfFunctions: the error of a function is returned as it is, and its message is not sent,
// or comes again.
func TestRuleOfFunctions(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		q := openBytes(t, shmemtest.Dir(t), shapedBytes(single, 4))
		s, err := q.Sender()
		check(t, err)
		r, err := q.Receiver()
		check(t, err)
		fails := func([]byte) error { return errUser }
		for range 9 {
			if err := s.SendFunc(background, 8, fails); err != errUser {
				t.Fatal(err)
			}
		}
		check(t, s.Send(background, []byte("one")))
		check(t, s.Send(background, []byte("two")))
		for range 9 {
			if err := r.RecvFunc(background, fails); err != errUser {
				t.Fatal(err)
			}
		}
		bufs := make([][]byte, 3)
		n := 0
		for n < 2 { // a redelivered message comes alone
			k, err := r.RecvBatch(background, bufs[n:])
			check(t, err)
			n += k
		}
		if string(bufs[0]) != "one" || string(bufs[1]) != "two" {
			t.Errorf("received %q", bufs[:n])
		}
	})
}
