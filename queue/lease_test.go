package queue_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// A borrower takes numbers on leases, whatever the queue is.
type borrower struct {
	send  func(int64) error
	take  func() (borrowed, error)
	func1 func(func(int64) error) error
	close func() error
	end   func() error
	stats func() (queue.Stats, error)
}

type borrowed interface {
	Deliveries() int
	Done() error
	Back(time.Duration) error
}

// number is the value of a lease.
func number(l borrowed) int64 {
	if l, ok := l.(*queue.BytesLease); ok {
		n, _ := strconv.ParseInt(string(l.Value()), 10, 64)
		return n
	}
	return *l.(*queue.Lease[int64]).Value()
}

// borrowers runs f with a queue of items and with one of bytes.
func borrowers(t *testing.T, o queue.Options, f func(t *testing.T, dir string, open func() borrower)) {
	t.Helper()
	o.Lifetime = shmem.Owned
	t.Run("items", func(t *testing.T) {
		o := o
		o.Dir = shmemtest.Dir(t)
		f(t, o.Dir, func() borrower { return borrowItems(t, &o) })
	})
	t.Run("bytes", func(t *testing.T) {
		o := queue.BytesOptions{
			Dir: shmemtest.Dir(t), Lifetime: o.Lifetime, Capacity: o.Capacity, Bytes: 4096,
			LeaseTimeout: o.LeaseTimeout, RetryDelay: o.RetryDelay, DeadLetters: o.DeadLetters,
			MaxDeliveries: o.MaxDeliveries,
		}
		f(t, o.Dir, func() borrower { return borrowBytes(t, &o) })
	})
}

func borrowItems(t *testing.T, o *queue.Options) borrower {
	t.Helper()
	q, err := queue.Open[int64]("q", o)
	check(t, err)
	t.Cleanup(func() { check(t, q.Close()) })
	r, err := q.Receiver()
	check(t, err)
	return borrower{
		func(v int64) error { return q.Send(background, v) },
		func() (borrowed, error) { return r.TryTake() },
		func(f func(int64) error) error {
			return q.RecvFunc(background, func(v *int64) error { return f(*v) })
		},
		q.Close, q.End, q.Stats,
	}
}

func borrowBytes(t *testing.T, o *queue.BytesOptions) borrower {
	t.Helper()
	q, err := queue.OpenBytes("q", o)
	check(t, err)
	t.Cleanup(func() { check(t, q.Close()) })
	return borrower{
		func(v int64) error { return q.Send(background, strconv.AppendInt(nil, v, 10)) },
		func() (borrowed, error) { return q.TryTake() },
		func(f func(int64) error) error {
			return q.RecvFunc(background, func(b []byte) error {
				n, err := strconv.ParseInt(string(b), 10, 64)
				check(t, err)
				return f(n)
			})
		},
		q.Close, q.End, q.Stats,
	}
}

// takes takes the message v as its n-th delivery. A message that is not due yet is waited for.
func (b borrower) takes(t *testing.T, v int64, n int) borrowed {
	t.Helper()
	var l borrowed
	var err error
	eventually(t, func() bool { l, err = b.take(); return err == nil })
	if number(l) != v || l.Deliveries() != n {
		t.Fatalf("took %d, delivery %d; want %d, delivery %d", number(l), l.Deliveries(), v, n)
	}
	return l
}

// eventually waits until ok reports true.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 20 s")
		}
	}
}

// TestTake: a lease outlives its call. A message comes back first, is counted, and is consumed once.
func TestTake(t *testing.T) {
	borrowers(t, queue.Options{Capacity: 4}, func(t *testing.T, _ string, open func() borrower) {
		q := open()
		for v := range int64(3) {
			check(t, q.send(v))
		}
		first, second := q.takes(t, 0, 1), q.takes(t, 1, 1)
		check(t, second.Back(0))
		check(t, first.Back(0))
		first = q.takes(t, 0, 2)
		check(t, q.takes(t, 1, 2).Done())
		want(t, second.Done(), queue.ErrLeaseLost)
		want(t, second.Back(0), queue.ErrLeaseLost)
		check(t, first.Done())
		want(t, first.Done(), queue.ErrLeaseLost)
		check(t, q.end())
		last := q.takes(t, 2, 1)
		if _, err := q.take(); !errors.Is(err, queue.ErrEmpty) {
			t.Errorf("while the last message can come back: %v", err)
		}
		check(t, last.Back(0))
		check(t, q.takes(t, 2, 2).Done())
		if _, err := q.take(); err != io.EOF {
			t.Error(err)
		}
		check(t, q.close())
		want(t, last.Done(), shmem.ErrClosed)
	})
}

// TestBackLater: a message that comes back with a delay lets others go first, and comes when it is
// due, or when the queue is full because of it.
func TestBackLater(t *testing.T) {
	borrowers(t, queue.Options{Capacity: 3}, func(t *testing.T, _ string, open func() borrower) {
		q := open()
		check(t, q.send(0))
		start := time.Now()
		check(t, q.takes(t, 0, 1).Back(50*time.Millisecond))
		l := q.takes(t, 0, 2)
		if d := time.Since(start); d < 50*time.Millisecond {
			t.Errorf("redelivered after %v", d)
		}
		check(t, l.Back(time.Hour))
		check(t, q.send(1))
		check(t, q.send(2))
		sent := make(chan error, 1)
		go func() { sent <- q.send(3) }() // finds the queue full because of the message
		check(t, q.takes(t, 0, 3).Done())
		check(t, <-sent)
		for v := range int64(3) {
			check(t, q.takes(t, v+1, 1).Done())
		}
		check(t, q.send(4))
		check(t, q.takes(t, 4, 1).Back(time.Hour))
		check(t, q.send(5))
		check(t, q.takes(t, 5, 1).Done())
	})
}

// TestNotBefore: a delay of a few milliseconds is not shorter because the marks of messages have
// whole ones, and a limit of less than one is not none.
func TestNotBefore(t *testing.T) {
	o := queue.Options{Capacity: 2, LeaseTimeout: time.Hour}
	borrowers(t, o, func(t *testing.T, _ string, open func() borrower) {
		q := open()
		check(t, q.send(0))
		for n := range 20 {
			const delay = 2500 * time.Microsecond
			l := q.takes(t, 0, 2*n+1)
			start := time.Now()
			check(t, l.Back(delay))
			l = q.takes(t, 0, 2*n+2)
			if d := time.Since(start); d < delay {
				t.Fatalf("redelivered after %v", d)
			}
			check(t, l.Back(0))
		}
	})
	o = queue.Options{Capacity: 1, LeaseTimeout: 300 * time.Microsecond}
	borrowers(t, o, func(t *testing.T, _ string, open func() borrower) {
		q := open()
		check(t, q.send(0))
		first := q.takes(t, 0, 1)
		check(t, q.takes(t, 0, 2).Done())
		want(t, first.Done(), queue.ErrLeaseLost)
	})
}

// TestFailingWhileFull: a message that fails each time, and fills the queue, comes every 10 ms.
func TestFailingWhileFull(t *testing.T) {
	o := queue.Options{Capacity: 2, RetryDelay: time.Hour}
	borrowers(t, o, func(t *testing.T, _ string, open func() borrower) {
		q := open()
		check(t, q.send(0))
		check(t, q.send(1))
		fails := errors.New("not now")
		want(t, q.func1(func(int64) error { return fails }), fails)
		check(t, q.takes(t, 1, 1).Done())
		sent := make(chan error, 1)
		go func() { sent <- q.send(2) }() // waits for the slot of the message
		start := time.Now()
		const times = 6
		for range times {
			want(t, q.func1(func(v int64) error {
				if v != 0 {
					t.Errorf("received %d", v)
				}
				return fails
			}), fails)
		}
		// Between two of them there are 9 to 10 ms.
		if d := time.Since(start); d < (times-1)*9*time.Millisecond {
			t.Errorf("%d deliveries in %v", times, d)
		}
		check(t, q.func1(func(int64) error { return nil }))
		check(t, <-sent)
	})
}

// TestLeaseTimeout: a lease that is too old ends, and its holder is told, whichever goroutine of
// whichever attachment has the message then.
func TestLeaseTimeout(t *testing.T) {
	o := queue.Options{Capacity: 2, LeaseTimeout: 30 * time.Millisecond}
	borrowers(t, o, func(t *testing.T, dir string, open func() borrower) {
		q, other := open(), open()
		check(t, q.send(0))
		first := q.takes(t, 0, 1)
		second := q.takes(t, 0, 2) // of the same attachment
		third := q.takes(t, 0, 3)
		want(t, first.Done(), queue.ErrLeaseLost)
		want(t, second.Done(), queue.ErrLeaseLost)
		want(t, second.Back(0), queue.ErrLeaseLost)
		fourth := other.takes(t, 0, 4)
		want(t, third.Done(), queue.ErrLeaseLost)
		check(t, fourth.Done())

		check(t, q.send(1))
		err := q.func1(func(int64) error {
			check(t, other.takes(t, 1, 2).Done())
			return nil
		})
		want(t, err, queue.ErrLeaseLost)
	})
}

// TestDeadLetters: a message that is delivered too often goes to another queue. While that is full
// it is delivered again.
func TestDeadLetters(t *testing.T) {
	o := queue.Options{Capacity: 1, DeadLetters: "dead", MaxDeliveries: 2}
	borrowers(t, o, func(t *testing.T, dir string, open func() borrower) {
		q := open()
		t.Cleanup(func() { check(t, shmem.Remove(dir, "dead")) })
		for v := range int64(2) {
			check(t, q.send(v))
			check(t, q.takes(t, v, 1).Back(0))
			check(t, q.func1Fails(t, v))
			if v == 0 {
				if _, err := q.take(); !errors.Is(err, queue.ErrEmpty) {
					t.Errorf("after two deliveries: %v", err)
				}
				continue
			}
			check(t, q.takes(t, v, 3).Done())
		}
	})
}

// func1Fails receives v and fails.
func (b borrower) func1Fails(t *testing.T, v int64) error {
	err := b.func1(func(got int64) error {
		if got != v {
			t.Errorf("got %d, want %d", got, v)
		}
		return errNo
	})
	if err != errNo {
		return fmt.Errorf("not the error of f: %w", err)
	}
	return nil
}

// TestManyDeadLetters: a call that moves many messages to the dead-letter queue ends in between: one
// that does not block, and one whose context is done.
func TestManyDeadLetters(t *testing.T) {
	const n = 500 // they fit into the bytes of borrowers
	o := queue.Options{Capacity: 1024, DeadLetters: "dead", MaxDeliveries: 1}
	borrowers(t, o, func(t *testing.T, dir string, open func() borrower) {
		q := open()
		t.Cleanup(func() { check(t, shmem.Remove(dir, "dead")) })
		var all []borrowed
		for v := range int64(n) {
			check(t, q.send(v))
			all = append(all, q.takes(t, v, 1))
		}
		for _, l := range all {
			check(t, l.Back(0))
		}
		for left := n; left > 0; {
			_, err := q.take()
			want(t, err, queue.ErrEmpty)
			s, err := q.stats()
			check(t, err)
			if s.Receiving >= left || left-s.Receiving > 256 {
				t.Fatalf("one call has moved %d of %d messages", left-s.Receiving, left)
			}
			left = s.Receiving
		}
	})
}

func init() {
	roles = append(roles, shmemtest.Role{Name: "eater", Run: eater},
		shmemtest.Role{Name: "sleeper", Run: sleeper})
}

// eater receives messages in place, and dies of the one that is 13.
func eater(c *shmemtest.Conn) error {
	q, err := queue.Attach[int64]("q", &queue.Options{
		Dir: c.Args()[0], DeadLetters: "dead", MaxDeliveries: 3, Lifetime: shmem.Owned})
	if err != nil {
		return err
	}
	for {
		err := q.RecvFunc(background, func(v *int64) error {
			if *v == 13 {
				shmemtest.Die()
			}
			return nil
		})
		if err == io.EOF {
			return q.Close()
		}
		if err != nil {
			return err
		}
	}
}

// TestPoison: a message that kills its consumer kills three, and no more.
func TestPoison(t *testing.T) {
	dir := shmemtest.Dir(t)
	q := open[int64](t, dir, func(o *queue.Options) { o.Capacity = 8 })
	for _, v := range []int64{13, 1, 2} {
		check(t, q.Send(background, v))
	}
	check(t, q.End())
	for range 3 {
		if err := shmemtest.Start(t, "eater", dir).Wait(); !shmemtest.Killed(err) {
			t.Fatalf("not killed: %v", err)
		}
	}
	check(t, shmemtest.Start(t, "eater", dir).Wait())
	if _, err := q.TryRecv(); err != io.EOF {
		t.Error(err)
	}
	dead, err := queue.Attach[int64]("dead", &queue.Options{Dir: dir})
	check(t, err)
	defer dead.Close()
	if v, err := dead.TryRecv(); v != 13 || err != nil {
		t.Error(v, err)
	}
	if _, err := dead.TryRecv(); !errors.Is(err, queue.ErrEmpty) {
		t.Error(err)
	}
}

// sleeper takes a message, by Take or in RecvFunc, and waits for a line before it is done.
func sleeper(c *shmemtest.Conn) error {
	q, err := queue.Attach[int64]("q", options(c.Args()[0]))
	if err != nil {
		return err
	}
	wait := func() error {
		c.Send("taken")
		_, err := c.Recv()
		return err
	}
	if c.Args()[1] == "take" {
		l, err := q.Take(background)
		if err != nil {
			return err
		}
		if err := wait(); err != nil {
			return err
		}
		err = l.Done()
		c.Send(fmt.Sprint(errors.Is(err, queue.ErrLeaseLost)))
		return q.Close()
	}
	err = q.RecvFunc(background, func(*int64) error { return wait() })
	c.Send(fmt.Sprint(errors.Is(err, queue.ErrLeaseLost)))
	return q.Close()
}

// TestStoppedConsumer: a consumer that is stopped has a name, an operator can end its lease, and it
// finds that out.
func TestStoppedConsumer(t *testing.T) {
	for _, how := range []string{"take", "recvfunc"} {
		t.Run(how, func(t *testing.T) {
			dir := shmemtest.Dir(t)
			q := open[int64](t, dir, func(o *queue.Options) { o.Capacity = 2 })
			check(t, q.Send(background, 7))
			c := shmemtest.Start(t, "sleeper", dir, how)
			c.Expect(t, "taken")
			c.Stop()
			if _, err := q.TryRecv(); !errors.Is(err, queue.ErrEmpty) {
				t.Fatal(err)
			}
			slot := leaseOf(t, dir, c.Pid(), how == "take")
			if n, err := inspect.EndLeases("q", &shmem.Options{Dir: dir}, slot); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if v, err := q.Recv(background); v != 7 || err != nil {
				t.Fatal(v, err)
			}
			check(t, q.Send(background, 8))
			check(t, q.Send(background, 9))
			c.Continue()
			c.Send("go on")
			c.Expect(t, "true")
			check(t, c.Wait())
			for _, want := range []int64{8, 9} {
				if v, err := q.TryRecv(); v != want || err != nil {
					t.Error(v, err)
				}
			}
		})
	}
}

// leaseOf returns the slot of the process that has the only lease.
func leaseOf(t *testing.T, dir string, pid int, timed bool) int {
	t.Helper()
	o, err := inspect.Open(dir, "q")
	check(t, err)
	defer o.Close()
	st, err := o.Stats()
	check(t, err)
	if len(st.Leases) != 1 || st.Leases[0].PID != pid || st.Leases[0].What != "receive" {
		t.Fatalf("%+v", st.Leases)
	}
	l := st.Leases[0]
	if age := time.Since(l.Since); timed && (age < -time.Second || age > time.Hour || l.Deliveries != 1) {
		t.Errorf("%+v", l)
	}
	return l.Slot
}

// TestKillRevoking kills the process that ends the lease of another one, when it has.
func TestKillRevoking(t *testing.T) {
	dir := shmemtest.Dir(t)
	q := open[int64](t, dir, nil)
	check(t, q.Send(background, 7))
	l, err := q.Take(background)
	check(t, err)
	if err := shmemtest.Start(t, "revoker", dir).Wait(); !shmemtest.Killed(err) {
		t.Fatalf("not killed: %v", err)
	}
	v, err := q.Recv(background)
	if v != 7 || err != nil {
		t.Fatal(v, err)
	}
	want(t, l.Done(), queue.ErrLeaseLost)
	s, err := q.Stats()
	check(t, err)
	if s.Redelivered != 1 || s.Receiving != 0 {
		t.Errorf("%+v", s)
	}
}

func init() { roles = append(roles, shmemtest.Role{Name: "revoker", Run: revoker}) }

// revoker ends the leases of slot 0, and dies.
func revoker(c *shmemtest.Conn) error {
	step.Hook(func(p step.Point) {
		if p == step.QueueRevoked {
			shmemtest.Die()
		}
	})
	_, err := inspect.EndLeases("q", &shmem.Options{Dir: c.Args()[0]}, 0)
	return fmt.Errorf("went on: %v", err)
}

// TestDeliveredMessages: inspect shows how often a message was delivered that waits.
func TestDeliveredMessages(t *testing.T) {
	dir := shmemtest.Dir(t)
	q := open[int64](t, dir, nil)
	for v := range int64(3) {
		check(t, q.Send(background, v))
	}
	l, err := q.Take(background)
	check(t, err)
	check(t, l.Back(0))
	l, err = q.Take(background)
	check(t, err)
	check(t, l.Back(time.Hour))
	o, err := inspect.Open(dir, "q")
	check(t, err)
	defer o.Close()
	all, err := o.Messages(0)
	check(t, err)
	var got []int
	for _, m := range all {
		got = append(got, m.Delivered)
	}
	if !slices.Equal(got, []int{2, 0, 0}) {
		t.Errorf("delivered %v", got)
	}
}
