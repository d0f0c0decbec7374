package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

// background serving of any form until the test ends.
func serving(t *testing.T, f func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(background)
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestBytes(t *testing.T) {
	dir := shmemtest.Dir(t)
	sizes := rpc.Sizes{Request: 1000, Reply: 3000}
	serving(t, func(ctx context.Context) error {
		return rpc.ServeBytes(ctx, "s", sizes, func(_ context.Context, request, reply []byte) ([]byte, error) {
			switch {
			case len(reply) != 0 || cap(reply) != sizes.Reply || cap(request) != len(request):
				return nil, errors.New("the reply has another form")
			case bytes.Equal(request, []byte("refuse")):
				return nil, errRefused
			case bytes.Equal(request, []byte("too large")):
				return make([]byte, sizes.Reply+1), nil
			case bytes.Equal(request, []byte("other")):
				return []byte("other memory"), nil
			case bytes.Equal(request, []byte("request")):
				return request, nil
			}
			for range 3 {
				reply = append(reply, request...)
			}
			return reply, nil
		}, &rpc.ServeOptions{Dir: dir, Calls: 2, Errors: []error{errRefused}})
	})
	c, err := rpc.DialBytes(background, "s", &rpc.DialOptions{Dir: dir, Errors: []error{errRefused}})
	check(t, err)
	defer c.Close()
	if c.Sizes() != sizes {
		t.Error(c.Sizes())
	}
	for _, n := range []int{0, 1, 7, 8, 999, 1000} {
		request := bytes.Repeat([]byte{byte(n), 5}, n)[:n]
		got, err := c.Call(background, request, []byte("x"))
		if want := append([]byte("x"), bytes.Repeat(request, 3)...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d: %q, %v", n, got, err)
		}
	}
	for request, want := range map[string]string{"other": "other memory", "request": "request"} {
		if got, err := c.Call(background, []byte(request), nil); err != nil || string(got) != want {
			t.Errorf("%q, %v", got, err)
		}
	}
	for request, want := range map[string]error{
		"refuse": errRefused, "too large": rpc.ErrTooLarge, string(make([]byte, 1001)): rpc.ErrTooLarge,
	} {
		if got, err := c.Call(background, []byte(request), nil); !errors.Is(err, want) || got != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	mine := errors.New("mine")
	fail := func([]byte) error { return mine }
	write := func(b []byte) (int, error) { return copy(b, "abc"), nil }
	for range 5 { // there are two slots
		if err := c.CallFunc(background, func([]byte) (int, error) { return 0, mine }, fail); err != mine {
			t.Error(err)
		}
		if err := c.CallFunc(background, write, fail); err != mine {
			t.Error(err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = c.CallFunc(background, write, func([]byte) error { panic("mine") })
		}()
	}
	check(t, c.CallFunc(background, write, func(b []byte) error {
		if string(b) != "abcabcabc" {
			t.Errorf("%q", b)
		}
		return nil
	}))
	if err := rpc.ServeBytes(background, "t", rpc.Sizes{Request: 1}, nil, nil); !errors.Is(err, shmem.ErrBadOption) {
		t.Error(err)
	}
	if _, err := rpc.Dial[query, reply](background, "s", &rpc.DialOptions{Dir: dir}); !errors.Is(err, shmem.ErrMismatch) {
		t.Error(err)
	}
}

// big is such that a stream has room for two of them.
type big struct {
	N    uint64
	Rest [40 << 10]byte
}

func testStream[R any](t *testing.T, number func(*R) *uint64) {
	dir := shmemtest.Dir(t)
	ended := make(chan error, 1)
	serving(t, func(ctx context.Context) error {
		return rpc.ServeStream(ctx, "s", func(ctx context.Context, q *query, send func(*R) error) error {
			var r R
			for n := range q.N {
				*number(&r) = n
				if err := send(&r); err != nil {
					ended <- err
					return err
				}
			}
			if q.Do == refuse {
				return errRefused
			}
			return nil
		}, &rpc.ServeOptions{Dir: dir, Calls: 1, Errors: []error{errRefused}})
	})
	c, err := rpc.DialStream[query, R](background, "s", &rpc.DialOptions{Dir: dir, Errors: []error{errRefused}})
	check(t, err)
	defer c.Close()
	for _, n := range []uint64{0, 1, 2, 3, 200} {
		for _, does := range []do{square, refuse} {
			got := uint64(0)
			var last error
			for r, err := range c.Call(background, &query{N: n, Do: does}) {
				if last = err; err == nil {
					if *number(r) != got {
						t.Fatalf("%d, want %d", *number(r), got)
					}
					got++
				}
			}
			if got != n || does == refuse != errors.Is(last, errRefused) {
				t.Errorf("%d replies of %d, %v", got, n, last)
			}
		}
	}
	for range 2 { // the loop is left: the handler ends, and the one slot is free
		for _, err := range c.Call(background, &query{N: 1 << 40}) {
			check(t, err)
			break
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(background)
		var last error
		for _, err := range c.Call(ctx, &query{N: 1 << 40}) {
			cancel()
			last = err
		}
		if !errors.Is(last, context.Canceled) {
			t.Error(last)
		}
		<-ended
		cancel()
	}
	for _, err := range c.Call(background, &query{N: 1 << 40}) { // the client is closed in the loop
		if err == nil {
			check(t, c.Close())
		} else if !errors.Is(err, shmem.ErrClosed) {
			t.Error(err)
		}
	}
	<-ended
	d, err := rpc.DialStream[query, R](background, "s", &rpc.DialOptions{Dir: dir})
	check(t, err)
	defer d.Close()
	for _, err := range d.Call(background, &query{N: 5}) {
		check(t, err)
	}
}

func TestStream(t *testing.T) {
	testStream(t, func(n *uint64) *uint64 { return n })
}

func TestStreamOfLargeReplies(t *testing.T) {
	testStream(t, func(b *big) *uint64 { return &b.N })
}
