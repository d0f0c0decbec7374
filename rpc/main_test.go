package rpc_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

// roles are added by the files that start them.
var roles []shmemtest.Role

func TestMain(m *testing.M) { shmemtest.Main(m, roles...) }

var background = context.Background()

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A query asks for the square of N. Do says what else the handler does.
type query struct {
	N  uint64
	Do do
}

type do uint64

const (
	square do = iota
	block     // until the context is done
	refuse    // return errRefused
	wait      // until a value is sent to release
	meta      // reply with the metadata
	exit      // end the goroutine
)

type reply struct {
	Square uint64
	Zero   uint64 // the handler must find 0 in a new reply
	PID    uint64
	Meta   rpc.Metadata
}

var errRefused = errors.New("refused")

const longWait = 30 * time.Second

// serve serves "s" in a directory until the test ends, in this process.
func serve[Q, R any](t testing.TB, dir string, opts rpc.ServeOptions,
	handler func(context.Context, *Q, *R) error,
) (stop func() error) {
	t.Helper()
	opts.Dir = dir
	ctx, cancel := context.WithCancel(background)
	ended := make(chan error, 1)
	go func() { ended <- rpc.Serve(ctx, "s", handler, &opts) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stop
}

// dial dials "s".
func dial[Q, R any](t testing.TB, dir string, opts rpc.DialOptions) *rpc.Client[Q, R] {
	t.Helper()
	opts.Dir = dir
	ctx, cancel := context.WithTimeout(background, longWait)
	defer cancel()
	c, err := rpc.Dial[Q, R](ctx, "s", &opts)
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}
