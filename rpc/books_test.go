package rpc_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

var kills = flag.Int("kills", 20, "how many processes TestKilledAtRandom kills")

func init() {
	roles = append(roles, shmemtest.Role{Name: "bookServer", Run: bookServer},
		shmemtest.Role{Name: "bookClient", Run: bookClient})
}

const (
	bookClients = 3 // processes; the calls of the first one are idempotent
	bookServers = 2
	bookCallers = 4   // in each client
	bookRing    = 256 // calls of a caller of which the books know
)

// The books have the runs of the handlers, and the number of the last call of each caller.
type books struct {
	Runs [bookClients * bookCallers][bookRing]atomic.Uint64 // number of the call<<8 + runs
	Last [bookClients * bookCallers]atomic.Uint64
	Ends [5]atomic.Uint64 // how calls have ended: see bookEnds
}

var bookEnds = [5]string{"reply", "error of the handler", "server died", "no server", "given up"}

type bookQuery struct {
	Caller, Call uint64
	Text         [40]byte
}

// run counts a run of a handler.
func (b *books) run(q *bookQuery) {
	w := &b.Runs[q.Caller][q.Call%bookRing]
	for {
		is := w.Load()
		next := q.Call<<8 + 1
		if is>>8 == q.Call {
			next = is + 1
		}
		if w.CompareAndSwap(is, next) {
			return
		}
	}
}

// runs returns how often the handler of a call has run.
func (b *books) runs(caller, call uint64) uint64 {
	if is := b.Runs[caller][call%bookRing].Load(); is>>8 == call {
		return is & 0xff
	}
	return 0
}

func openBooks(dir string) (*books, error) {
	box, err := shmem.Attach[books]("books", &shmem.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	return box.Value(), nil
}

func bookText(caller, call uint64) string { return fmt.Sprintf("call %d of caller %d", call, caller) }

// bookServer serves until it is killed. Its handlers are quick, take a while, or fail.
func bookServer(c *shmemtest.Conn) error {
	b, err := openBooks(c.Args()[0])
	if err != nil {
		return err
	}
	c.Send("ready")
	return rpc.Serve(background, "s", func(ctx context.Context, q *bookQuery, r *bookQuery) error {
		b.run(q)
		*r = *q
		switch rand.IntN(40) {
		case 0:
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(rand.IntN(2000)) * time.Microsecond):
			}
		case 1:
			return errors.New(bookText(q.Caller, q.Call))
		}
		return nil
	}, &rpc.ServeOptions{Dir: c.Args()[0], Calls: 8})
}

// bookClient makes calls until it is killed, and checks what becomes of each.
func bookClient(c *shmemtest.Conn) error {
	me, err := strconv.Atoi(c.Args()[1])
	if err != nil {
		return err
	}
	b, err := openBooks(c.Args()[0])
	if err != nil {
		return err
	}
	// The third one does not wait where no server is alive.
	d, err := rpc.Dial[bookQuery, bookQuery](background, "s", &rpc.DialOptions{
		Dir: c.Args()[0], Idempotent: me == 0, WaitForServer: me < 2,
	})
	if err != nil {
		return err
	}
	c.Send("ready")
	failed := make(chan error)
	for i := range bookCallers {
		go func() { failed <- keepBooks(d, b, uint64(me*bookCallers+i), me == 0, me == 2) }()
	}
	return <-failed
}

// keepBooks makes one call after the other.
func keepBooks(
	d *rpc.Client[bookQuery, bookQuery], b *books, caller uint64, idempotent, needsServer bool,
) error {
	for {
		call := b.Last[caller].Add(1)
		timeout := 60 * time.Second
		if short := rand.IntN(20) == 0; short {
			timeout = time.Duration(rand.IntN(1000)) * time.Microsecond
		}
		ctx, cancel := context.WithTimeout(background, timeout)
		q, r := bookQuery{Caller: caller, Call: call}, bookQuery{}
		copy(q.Text[:], bookText(caller, call))
		err := d.Call(ctx, &q, &r)
		cancel()
		end, runs := -1, b.runs(caller, call)
		var h *rpc.HandlerError
		switch {
		case err == nil && r == q && runs > 0:
			end = 0
		case errors.As(err, &h) && h.Text == bookText(caller, call) && runs > 0:
			end = 1
		case errors.Is(err, rpc.ErrServerDied) && !idempotent:
			end = 2
		case errors.Is(err, rpc.ErrNoServer) && needsServer && runs == 0:
			end = 3
			time.Sleep(time.Millisecond)
		case errors.Is(err, context.DeadlineExceeded) && timeout < time.Second:
			end = 4
		}
		if end < 0 || runs > 1 && !idempotent {
			return fmt.Errorf("%s: %+v, %w, runs %d", bookText(caller, call), r, err, runs)
		}
		b.Ends[end].Add(1)
	}
}

// TestKilledAtRandom kills clients and servers at any moment, and keeps books. Each call has its own
// reply, its own error of the handler, or an error that it can have. A handler runs more than once
// only for calls that are idempotent, never for one that found no server, and at least once for one
// with a reply. At the end all slots are free.
func TestKilledAtRandom(t *testing.T) {
	dir := shmemtest.Dir(t)
	box, err := shmem.Create[books]("books", &shmem.Options{Dir: dir})
	check(t, err)
	defer box.Close()
	var all [bookServers + bookClients]*shmemtest.Child
	start := func(i int) {
		if i < bookServers {
			all[i] = shmemtest.Start(t, "bookServer", dir)
		} else {
			all[i] = shmemtest.Start(t, "bookClient", dir, strconv.Itoa(i-bookServers))
		}
		all[i].Expect(t, "ready")
	}
	for i := range all {
		start(i)
	}
	n := *kills
	if robust.RaceEnabled {
		n = min(n, 4)
	}
	for i := range n {
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		victim := i % len(all)
		all[victim].Kill()
		if i%23 == 0 { // a while without a server, or with one more client
			other := (victim + 1) % len(all)
			all[other].Kill()
			start(other)
		}
		start(victim)
	}
	for i := bookServers; i < len(all); i++ {
		all[i].Kill()
	}
	last := freeSlots(t, dir)
	for i := range bookServers {
		all[i].Kill()
	}
	check(t, last.Close()) // removes the segment
	for i := range bookEnds {
		t.Logf("%s: %d", bookEnds[i], box.Value().Ends[i].Load())
	}
	if n > 0 && box.Value().Ends[0].Load() == 0 {
		t.Error("no call has had a reply")
	}
}

// freeSlots waits until no call is left, and makes as many at once as there are slots. It returns
// its client.
func freeSlots(t *testing.T, dir string) *rpc.Client[bookQuery, bookQuery] {
	t.Helper()
	waitForStats(t, dir, func(st *inspect.CallStats) bool {
		return st.Waiting+st.Running+st.Clients == 0
	})
	d := dial[bookQuery, bookQuery](t, dir, rpc.DialOptions{})
	ended := make(chan error)
	for i := range uint64(8) {
		go func() {
			ctx, cancel := context.WithTimeout(background, longWait)
			defer cancel()
			err := d.Call(ctx, &bookQuery{Call: i}, new(bookQuery))
			if h := (*rpc.HandlerError)(nil); errors.As(err, &h) {
				err = nil
			}
			ended <- err
		}()
	}
	for range 8 {
		check(t, <-ended)
	}
	return d
}
