package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

// handle is the handler of most tests.
func handle(ctx context.Context, q *query, r *reply) error {
	r.Zero += 7
	switch q.Do {
	case block:
		<-ctx.Done()
		return ctx.Err()
	case refuse:
		return fmt.Errorf("%d is %w", q.N, errRefused)
	case meta:
		r.Meta = rpc.MetadataOf(ctx)
	}
	r.Square = q.N * q.N
	return nil
}

func TestCall(t *testing.T) {
	dir := shmemtest.Dir(t)
	serve(t, dir, rpc.ServeOptions{}, handle)
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	for n := range uint64(200) {
		r := reply{Zero: 3}
		check(t, c.Call(background, &query{N: n}, &r))
		if r.Square != n*n || r.Zero != 7 {
			t.Fatalf("%+v for %d", r, n)
		}
	}
}

// TestManyCallers: each of many callers gets the reply to its own request, with more callers than
// slots.
func TestManyCallers(t *testing.T) {
	dir := shmemtest.Dir(t)
	for range 2 {
		serve(t, dir, rpc.ServeOptions{Calls: 5, Handlers: 3}, handle)
	}
	a, b := dial[query, reply](t, dir, rpc.DialOptions{}), dial[query, reply](t, dir, rpc.DialOptions{})
	var wg sync.WaitGroup
	for g := range uint64(16) {
		wg.Go(func() {
			c := a
			if g%2 == 0 {
				c = b
			}
			for n := range uint64(100) {
				var r reply
				if err := c.Call(background, &query{N: g<<32 | n}, &r); err != nil || r.Square != (g<<32|n)*(g<<32|n) {
					t.Errorf("%d %d: %+v, %v", g, n, r, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestHandlerError(t *testing.T) {
	dir := shmemtest.Dir(t)
	type text struct{ Text [600]byte }
	serve(t, dir, rpc.ServeOptions{Errors: []error{errRefused}}, func(_ context.Context, q *text, _ *reply) error {
		s := strings.TrimRight(string(q.Text[:]), "\x00")
		return fmt.Errorf("%s: %w, %w, %w", s, errRefused, fs.ErrNotExist, errors.New("other"))
	})
	for _, known := range []bool{true, false} {
		var o rpc.DialOptions
		if known {
			o.Errors = []error{errors.New("more"), errRefused}
		}
		c := dial[text, reply](t, dir, o)
		for _, s := range []string{"short", strings.Repeat("é", 290)} {
			var q text
			copy(q.Text[:], s)
			r := reply{Square: 5}
			err := c.Call(background, &q, &r)
			var h *rpc.HandlerError
			if !errors.As(err, &h) || len(h.Text) > 256 || !strings.HasPrefix(h.Text, s[:min(len(s), 254)]) {
				t.Fatalf("%v", err)
			}
			if errors.Is(err, errRefused) != known || !errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) ||
				r.Square != 5 || strings.ContainsRune(err.Error(), '\uFFFD') {
				t.Errorf("%v, %+v", err, r)
			}
			if !strings.HasPrefix(err.Error(), "shmem: rpc call s: ") {
				t.Error(err)
			}
		}
	}
}

func TestMetadata(t *testing.T) {
	dir := shmemtest.Dir(t)
	serve(t, dir, rpc.ServeOptions{}, handle)
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	want := rpc.Metadata{1, 2, 30: 9, 31: 7}
	for _, m := range []rpc.Metadata{want, {}} {
		ctx := background
		if m != (rpc.Metadata{}) {
			ctx = rpc.WithMetadata(ctx, m)
		}
		var r reply
		check(t, c.Call(ctx, &query{Do: meta}, &r))
		if r.Meta != m {
			t.Errorf("%v, want %v", r.Meta, m)
		}
	}
}

// TestGivenUp: a client that gives up returns at once, the handler's context ends, and a late reply
// reaches no other call.
func TestGivenUp(t *testing.T) {
	dir := shmemtest.Dir(t)
	began, ended := make(chan bool, 10), make(chan error, 10)
	release := make(chan bool)
	serve(t, dir, rpc.ServeOptions{Calls: 2}, func(ctx context.Context, q *query, r *reply) error {
		if q.Do == wait {
			began <- true
			<-ctx.Done()
			ended <- ctx.Err()
			<-release
			r.Square = 1
			return nil
		}
		return handle(ctx, q, r)
	})
	defer close(release) // before the service ends, which waits for its handlers
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	for _, timeout := range []bool{false, true} {
		var r reply
		if timeout {
			// A call that is given up before a handler has it runs none.
			for d, has := 20*time.Millisecond, false; !has; d *= 2 {
				ctx, cancel := context.WithTimeout(background, d)
				err := c.Call(ctx, &query{Do: wait}, &r)
				cancel()
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				select {
				case has = <-began:
				default:
				}
			}
		} else {
			ctx, cancel := context.WithCancel(background)
			go func() {
				<-began
				cancel()
			}()
			if err := c.Call(ctx, &query{Do: wait}, &r); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		if err := <-ended; err == nil {
			t.Error("the handler's context is not done")
		}
		for n := range uint64(20) {
			if n == 10 {
				release <- true
			}
			check(t, c.Call(background, &query{N: n}, &r))
			if r.Square != n*n {
				t.Fatalf("%+v for %d", r, n)
			}
		}
	}
}

// TestHandlerDeadline: the deadline of the call is that of the handler's context.
func TestHandlerDeadline(t *testing.T) {
	dir := shmemtest.Dir(t)
	at := make(chan time.Time, 1)
	serve(t, dir, rpc.ServeOptions{}, func(ctx context.Context, _ *query, _ *reply) error {
		d, _ := ctx.Deadline()
		at <- d
		return nil
	})
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	want := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(background, want)
	defer cancel()
	check(t, c.Call(ctx, &query{}, &reply{}))
	if d := (<-at).Sub(want).Abs(); d > longWait {
		t.Errorf("the deadlines differ by %v", d)
	}
	check(t, c.Call(background, &query{}, &reply{}))
	if d := <-at; !d.IsZero() {
		t.Error(d)
	}
}

// TestStopServing: when its context is done a server ends the calls that it has, takes no more, and
// returns.
func TestStopServing(t *testing.T) {
	dir := shmemtest.Dir(t)
	begun, release := make(chan bool, 1), make(chan bool)
	stop := serve(t, dir, rpc.ServeOptions{}, func(ctx context.Context, q *query, r *reply) error {
		if q.N == 3 {
			begun <- true
			<-release
		}
		return handle(ctx, q, r)
	})
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	got := make(chan error, 1)
	var r reply
	go func() { got <- c.Call(background, &query{N: 3}, &r) }()
	<-begun
	go stop()
	for { // until no server is registered
		ctx, cancel := context.WithTimeout(background, 20*time.Millisecond)
		err := c.Call(ctx, &query{}, new(reply))
		cancel()
		if errors.Is(err, rpc.ErrNoServer) {
			break
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	close(release)
	if err := <-got; err != nil || r.Square != 9 {
		t.Error(r, err)
	}
}

// TestGrace: handlers that do not return get canceled contexts after Grace.
func TestGrace(t *testing.T) {
	for _, grace := range []time.Duration{-1, time.Millisecond} {
		dir := shmemtest.Dir(t)
		begun := make(chan bool, 1)
		stop := serve(t, dir, rpc.ServeOptions{Grace: grace}, func(ctx context.Context, q *query, r *reply) error {
			begun <- true
			return handle(ctx, q, r)
		})
		c := dial[query, reply](t, dir, rpc.DialOptions{})
		got := make(chan error, 1)
		go func() { got <- c.Call(background, &query{Do: block}, new(reply)) }()
		<-begun
		check(t, stop())
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// TestNoServer: without a server a call waits or returns ErrNoServer.
func TestNoServer(t *testing.T) {
	dir := shmemtest.Dir(t)
	stop := serve(t, dir, rpc.ServeOptions{}, handle)
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	waiting := dial[query, reply](t, dir, rpc.DialOptions{WaitForServer: true})
	check(t, stop())
	if err := c.Call(background, &query{}, new(reply)); !errors.Is(err, rpc.ErrNoServer) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(background, 30*time.Millisecond)
	defer cancel()
	if err := waiting.Call(ctx, &query{}, new(reply)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	got := make(chan error, 1)
	var r reply
	go func() { got <- waiting.Call(background, &query{N: 4}, &r) }()
	serve(t, dir, rpc.ServeOptions{}, handle)
	if err := <-got; err != nil || r.Square != 16 {
		t.Error(r, err)
	}
	if _, err := rpc.Dial[query, reply](ctx, "none", &rpc.DialOptions{Dir: dir}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestUnlinked: when the service is removed, its servers end and calls fail.
func TestUnlinked(t *testing.T) {
	dir := shmemtest.Dir(t)
	ended := make(chan error, 1)
	go func() { ended <- rpc.Serve(background, "s", handle, &rpc.ServeOptions{Dir: dir}) }()
	c := dial[query, reply](t, dir, rpc.DialOptions{WaitForServer: true})
	check(t, shmem.Remove(dir, "s"))
	if err := <-ended; !errors.Is(err, shmem.ErrUnlinked) {
		t.Error(err)
	}
	if err := c.Call(background, &query{}, new(reply)); !errors.Is(err, shmem.ErrUnlinked) {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	dir := shmemtest.Dir(t)
	var ends atomic.Int32
	begun := make(chan bool, 1)
	serve(t, dir, rpc.ServeOptions{}, func(ctx context.Context, q *query, r *reply) error {
		begun <- true
		defer ends.Add(1)
		return handle(ctx, q, r)
	})
	c := dial[query, reply](t, dir, rpc.DialOptions{})
	got := make(chan error, 1)
	go func() { got <- c.Call(background, &query{Do: block}, new(reply)) }()
	<-begun
	check(t, c.Close())
	if err := <-got; !errors.Is(err, shmem.ErrClosed) {
		t.Error(err)
	}
	if err := c.Call(background, &query{}, new(reply)); !errors.Is(err, shmem.ErrClosed) {
		t.Error(err)
	}
	for end := time.Now().Add(longWait); ends.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the handler's context is not done")
		}
	}
}

// TestRefused: types and options that cannot be.
func TestRefused(t *testing.T) {
	dir := shmemtest.Dir(t)
	done, cancel := context.WithCancel(background)
	cancel()
	o := &rpc.ServeOptions{Dir: dir}
	type shared struct{ N atomic.Int64 }
	for name, c := range map[string]struct{ got, want error }{
		"no bytes":  {rpc.Serve(background, "s", func(context.Context, *struct{}, *reply) error { return nil }, o), shmem.ErrBadType},
		"atomic":    {rpc.Serve(background, "s", func(context.Context, *query, *shared) error { return nil }, o), shmem.ErrBadType},
		"pointer":   {rpc.Serve(background, "s", func(context.Context, **int, *reply) error { return nil }, o), shmem.ErrBadType},
		"calls":     {rpc.Serve(background, "s", handle, &rpc.ServeOptions{Calls: 5000}), shmem.ErrBadOption},
		"handlers":  {rpc.Serve(background, "s", handle, &rpc.ServeOptions{Handlers: -1}), shmem.ErrBadOption},
		"nil error": {rpc.Serve(background, "s", handle, &rpc.ServeOptions{Errors: []error{nil}}), shmem.ErrBadOption},
		"same text": {rpc.Serve(background, "s", handle, &rpc.ServeOptions{Errors: []error{errRefused, errors.New("refused")}}), shmem.ErrBadOption},
		"name":      {rpc.Serve(background, "a/b", handle, o), shmem.ErrBadName},
		"done":      {rpc.Serve(done, "s", handle, o), context.Canceled},
		"nil":       {rpc.Serve(nil, "s", handle, o), shmem.ErrBadOption},
	} {
		var e *shmem.Error
		if !errors.Is(c.got, c.want) || !errors.As(c.got, &e) || e.Op != "rpc serve" {
			t.Errorf("%s: %v", name, c.got)
		}
	}
	for info, err := range shmem.List(dir) {
		t.Error(info, err)
	}
}

func TestMismatch(t *testing.T) {
	dir := shmemtest.Dir(t)
	serve(t, dir, rpc.ServeOptions{Calls: 8}, handle)
	dial[query, reply](t, dir, rpc.DialOptions{})
	type other struct{ N, Do uint32 }
	o := &rpc.DialOptions{Dir: dir}
	_, err1 := rpc.Dial[other, reply](background, "s", o)
	_, err2 := rpc.Dial[query, other](background, "s", o)
	err3 := rpc.Serve(background, "s", handle, &rpc.ServeOptions{Dir: dir, Calls: 9})
	_, err4 := shmem.Attach[query]("s", &shmem.Options{Dir: dir})
	box, err := shmem.Create[query]("box", &shmem.Options{Dir: dir})
	check(t, err)
	defer box.Close()
	_, err5 := rpc.Dial[query, reply](background, "box", o)
	for i, err := range []error{err1, err2, err3, err4, err5} {
		if !errors.Is(err, shmem.ErrMismatch) {
			t.Errorf("%d: %v", i, err)
		}
		t.Log(err)
	}
	if !strings.Contains(err1.Error(), "Request.N") || !strings.Contains(err2.Error(), "Reply") {
		t.Error(err1, err2)
	}
}
