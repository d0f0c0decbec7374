package queue_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// A timed is a receiver of either kind.
type timed interface {
	Time() time.Time
	Close() error
}

// A stampedQueue is a queue with time stamps, and its ways to send and receive one message.
type stampedQueue struct {
	name          string
	last          timed
	stats         func() (queue.Stats, error)
	send, receive []func() error
	// fail receives a message in place and fails; f runs meanwhile.
	fail func(f func()) error
}

// errNotYet is what fail fails with.
var errNotYet = errors.New("not yet")

func stampedItems(t *testing.T, dir string, single bool) stampedQueue {
	q := open[int](t, dir, func(o *queue.Options) { o.Single, o.Capacity, o.Stamped = single, 4, true })
	s, err := q.Sender()
	check(t, err)
	r, err := q.Receiver()
	check(t, err)
	var one [1]int
	x := stampedQueue{name: "q", last: r, stats: q.Stats,
		send: []func() error{
			func() error { return s.Send(background, 1) },
			func() error { return s.TrySend(1) },
			func() error { return s.SendFunc(background, func(*int) error { return nil }) },
			func() error { _, err := s.SendBatch(background, one[:]); return err },
		},
		receive: []func() error{
			func() error { _, err := r.Recv(background); return err },
			func() error { _, err := r.TryRecv(); return err },
			func() error { return r.RecvFunc(background, func(*int) error { return nil }) },
			func() error { _, err := r.RecvBatch(background, one[:]); return err },
		},
		fail: func(f func()) error {
			return r.RecvFunc(background, func(*int) error { f(); return errNotYet })
		},
	}
	if single {
		return x
	}
	x.send = append(x.send, func() error { return q.Send(background, 1) }, func() error {
		d, err := q.Reserve(background)
		check(t, err)
		return d.Send()
	})
	x.receive = append(x.receive, func() error {
		l, err := r.Take(background)
		check(t, err)
		if !l.Time().Equal(r.Time()) {
			t.Errorf("lease %v, receiver %v", l.Time(), r.Time())
		}
		return l.Done()
	})
	return x
}

func stampedBytes(t *testing.T, dir string, single bool) stampedQueue {
	q := openBytes(t, dir, func(o *queue.BytesOptions) {
		o.Single, o.Capacity, o.Bytes, o.Stamped = single, 4, 128, true
	})
	s, err := q.Sender()
	check(t, err)
	r, err := q.Receiver()
	check(t, err)
	text, one := []byte("text"), make([][]byte, 1)
	x := stampedQueue{name: "b", last: r, stats: q.Stats,
		send: []func() error{
			func() error { return s.Send(background, text) },
			func() error { return s.TrySend(text) },
			func() error {
				return s.SendFunc(background, 4, func(b []byte) error { copy(b, text); return nil })
			},
			func() error { _, err := s.SendBatch(background, [][]byte{text}); return err },
		},
		receive: []func() error{
			func() error { b, err := r.Recv(background, nil); return same(b, err) },
			func() error { b, err := r.TryRecv(nil); return same(b, err) },
			func() error {
				return r.RecvFunc(background, func(b []byte) error { return same(b, nil) })
			},
			func() error { _, err := r.RecvBatch(background, one); return same(one[0], err) },
		},
		fail: func(f func()) error {
			return r.RecvFunc(background, func([]byte) error { f(); return errNotYet })
		},
	}
	if single {
		return x
	}
	x.send = append(x.send, func() error { return q.Send(background, text) }, func() error {
		d, err := q.Reserve(background, 4)
		check(t, err)
		copy(d.Value(), text)
		return d.Send()
	})
	x.receive = append(x.receive, func() error {
		l, err := r.Take(background)
		check(t, err)
		if !l.Time().Equal(r.Time()) {
			t.Errorf("lease %v, receiver %v", l.Time(), r.Time())
		}
		return l.Done()
	})
	return x
}

// same reports whether b is what stampedBytes sends.
func same(b []byte, err error) error {
	if err == nil && string(b) != "text" {
		return errors.New("received " + string(b))
	}
	return err
}

// TestStamps: every way to send stamps a message, and every way to receive tells the stamp, as
// inspect and Stats do. Inside the function of RecvFunc the time is that of its message, which
// counts afterwards only if the message is received.
func TestStamps(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		dir := shmemtest.Dir(t)
		stampsOf(t, dir, stampedItems(t, dir, single))
		stampsOf(t, dir, stampedBytes(t, dir, single))
	})
}

func stampsOf(t *testing.T, dir string, q stampedQueue) {
	o, err := inspect.Open(dir, q.name)
	check(t, err)
	defer o.Close()
	if !q.last.Time().IsZero() {
		t.Errorf("%v before the first message", q.last.Time())
	}
	var last time.Time
	for i, send := range q.send {
		for k, receive := range q.receive {
			before := time.Now().Round(0)
			check(t, send())
			after := time.Now().Round(0)
			var at time.Time
			want(t, q.fail(func() { at = q.last.Time() }), errNotYet)
			if at.Before(before) || at.After(after) || !q.last.Time().Equal(last) {
				t.Errorf("%s %d, %d: %v, sent from %v to %v; then %v, want %v", q.name, i, k, at,
					before, after, q.last.Time(), last)
			}
			all, err := o.Messages(0)
			check(t, err)
			if len(all) != 1 || !all[0].Published.Equal(at) {
				t.Errorf("%s %d, %d: inspect has %v, want %v", q.name, i, k, all, at)
			}
			waiting(t, o, q, at)
			check(t, receive())
			if last = q.last.Time(); !last.Equal(at) {
				t.Errorf("%s %d, %d: %v, and %v in place", q.name, i, k, last, at)
			}
			waiting(t, o, q, time.Time{})
		}
	}
}

// waiting compares when the oldest message was sent that waits.
func waiting(t *testing.T, o *inspect.Observer, q stampedQueue, at time.Time) {
	t.Helper()
	here, err := q.stats()
	check(t, err)
	there, err := o.Stats()
	check(t, err)
	if !here.OldestSent.Equal(at) || !there.OldestSent.Equal(at) {
		t.Errorf("%s: the oldest is of %v, by inspect of %v, want %v", q.name, here.OldestSent,
			there.OldestSent, at)
	}
}

// TestStampStays: a message that is redelivered, and that is moved to the dead-letter queue, was
// sent when it was sent first.
func TestStampStays(t *testing.T) {
	dir := shmemtest.Dir(t)
	q := open[int](t, dir, func(o *queue.Options) {
		o.Stamped, o.DeadLetters, o.MaxDeliveries = true, "dead", 2
	})
	b := openBytes(t, dir, func(o *queue.BytesOptions) {
		o.Stamped, o.DeadLetters, o.MaxDeliveries = true, "dead-bytes", 2
	})
	dead, err := queue.Attach[int]("dead", &queue.Options{Dir: dir})
	check(t, err)
	defer func() { check(t, errors.Join(dead.Own(), dead.Close())) }()
	deadBytes, err := queue.AttachBytes("dead-bytes", &queue.BytesOptions{Dir: dir})
	check(t, err)
	defer func() { check(t, errors.Join(deadBytes.Own(), deadBytes.Close())) }()
	stays(t, func() error { return q.Send(background, 1) },
		func() (borrowed, error) { return q.TryTake() },
		func() (borrowed, error) { return dead.TryTake() })
	stays(t, func() error { return b.Send(background, nil) },
		func() (borrowed, error) { return b.TryTake() },
		func() (borrowed, error) { return deadBytes.TryTake() })
	// A message that goes to the dead-letter queue is not received.
	r, err := q.Receiver()
	check(t, err)
	check(t, q.Send(background, 1))
	for range 2 {
		l, err := q.TryTake()
		check(t, err)
		check(t, l.Back(0))
	}
	if _, err := r.TryRecv(); !errors.Is(err, queue.ErrEmpty) || !r.Time().IsZero() {
		t.Errorf("%v, %v", err, r.Time())
	}
}

func stays(t *testing.T, send func() error, take, dead func() (borrowed, error)) {
	t.Helper()
	check(t, send())
	sent := time.Now().Round(0)
	var at time.Time
	for i := range 2 {
		l, err := take()
		check(t, err)
		if i == 0 {
			at = l.(interface{ Time() time.Time }).Time()
		}
		if now := l.(interface{ Time() time.Time }).Time(); !now.Equal(at) || now.After(sent) {
			t.Errorf("delivery %d is of %v, the first of %v", i, now, at)
		}
		check(t, l.Back(0))
	}
	if _, err := take(); !errors.Is(err, queue.ErrEmpty) {
		t.Error(err)
	}
	l, err := dead()
	check(t, err)
	if now := l.(interface{ Time() time.Time }).Time(); !now.Equal(at) {
		t.Errorf("the dead letter is of %v, want %v", now, at)
	}
	check(t, l.Done())
}

// TestStampAfterDeath: a message that comes again since its receiver died has the stamp of its
// sender, and one whose sender dies after it has written the stamp is skipped.
func TestStampAfterDeath(t *testing.T) {
	for _, c := range []struct {
		op string
		at step.Point
	}{{"take", step.QueueLent}, {"recv", step.QueueRead}, {"send", step.QueueWritten}} {
		dir := shmemtest.Dir(t)
		q, err := queue.Create[int64]("q", &queue.Options{
			Dir: dir, Lifetime: shmem.Owned, Capacity: 2, Stamped: true,
		})
		check(t, err)
		for range 3 { // the slots have stamps of other messages
			check(t, q.Send(background, 0))
			_, err := q.Recv(background)
			check(t, err)
		}
		check(t, q.Send(background, 7))
		sent := time.Now().Round(0)
		s, err := q.Stats()
		check(t, err)
		child := shmemtest.Start(t, "victim", dir, c.op, string(c.at))
		if err := child.Wait(); !shmemtest.Killed(err) {
			t.Fatalf("not killed: %v", err)
		}
		l, err := q.Take(background)
		check(t, err)
		if !l.Time().Equal(s.OldestSent) || l.Time().After(sent) || *l.Value() != 7 {
			t.Errorf("%s: %d, sent %v, want 7, %v", c.at, *l.Value(), l.Time(), s.OldestSent)
		}
		check(t, l.Done())
		_, err = q.TryTake()
		want(t, err, queue.ErrEmpty)
		check(t, q.Close())
	}
}

// TestNotStamped: without the option there are no times, and it cannot be had later. Where the queue
// has stamps they are there with the option and without it.
func TestNotStamped(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		for _, stamped := range []bool{false, true} {
			dir := shmemtest.Dir(t)
			q := open[int](t, dir, func(o *queue.Options) { o.Single, o.Stamped = single, stamped })
			b := openBytes(t, dir, func(o *queue.BytesOptions) {
				o.Single, o.Stamped = single, stamped
			})
			check(t, errors.Join(q.Send(background, 1), b.Send(background, []byte("x"))))
			o, ob := options(dir), bytesOptions(dir)
			o.Stamped, ob.Stamped = true, true
			with, err := queue.Attach[int]("q", o)
			withBytes, errBytes := queue.AttachBytes("b", ob)
			if stamped {
				check(t, errors.Join(err, errBytes, with.Close(), withBytes.Close()))
			} else if !errors.Is(err, shmem.ErrMismatch) || !errors.Is(errBytes, shmem.ErrMismatch) ||
				!strings.Contains(err.Error(), "without time stamps") {
				t.Errorf("%v, %v", err, errBytes)
			}
			plain, err := queue.Attach[int]("q", options(dir))
			check(t, err)
			r, err := plain.Receiver()
			check(t, err)
			_, err = r.Recv(background)
			check(t, err)
			plainBytes, err := queue.AttachBytes("b", bytesOptions(dir))
			check(t, err)
			rb, err := plainBytes.Receiver()
			check(t, err)
			_, err = rb.Recv(background, nil)
			check(t, err)
			if r.Time().IsZero() == stamped || rb.Time().IsZero() == stamped {
				t.Errorf("stamped %v: %v, %v", stamped, r.Time(), rb.Time())
			}
			check(t, errors.Join(plain.Close(), plainBytes.Close()))
		}
	})
}

// TestStampedSizes: a Single queue of bytes with stamps carries messages of MaxLen, and refuses a
// size that can carry none.
func TestStampedSizes(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := bytesOptions(dir)
	o.Single, o.Stamped, o.Bytes = true, true, 40
	_, err := queue.CreateBytes("small", o)
	want(t, err, shmem.ErrBadOption)
	q := openBytes(t, dir, func(o *queue.BytesOptions) {
		o.Single, o.Stamped, o.Bytes = true, true, 48
	})
	n := q.MaxLen()
	want(t, q.Send(background, make([]byte, n+1)), queue.ErrTooBig)
	want(t, q.SendFunc(background, int(^uint(0)>>1), nil), queue.ErrTooBig)
	want(t, q.SendFunc(background, -1, nil), queue.ErrTooBig)
	for i := range 10 {
		check(t, q.TrySend(make([]byte, n)))
		if b, err := q.TryRecv(nil); len(b) != n || err != nil {
			t.Fatal(i, len(b), err)
		}
	}
}

// TestOldestSent: the oldest message that waits is the one with the least stamp, wherever it is. In
// a dead-letter queue, or where a sender was slow, it is not the first one.
func TestOldestSent(t *testing.T) {
	dir := shmemtest.Dir(t)
	q := open[int](t, dir, func(o *queue.Options) { o.Stamped, o.Capacity = true, 4 })
	b := openBytes(t, dir, func(o *queue.BytesOptions) { o.Stamped, o.Capacity = true, 4 })
	draft, err := q.Reserve(background)
	check(t, err)
	draftBytes, err := b.Reserve(background, 4)
	check(t, err)
	check(t, errors.Join(q.Send(background, 2), b.Send(background, []byte("text"))))
	before := time.Now().Round(0)
	for !time.Now().Round(0).After(before) {
		time.Sleep(time.Millisecond)
	}
	check(t, errors.Join(draft.Send(), draftBytes.Send()))
	for name, stats := range map[string]func() (queue.Stats, error){"q": q.Stats, "b": b.Stats} {
		o, err := inspect.Open(dir, name)
		check(t, err)
		s, err := o.Stats()
		check(t, errors.Join(err, o.Close()))
		here, err := stats()
		check(t, err)
		if !here.OldestSent.Equal(s.OldestSent) || here.OldestSent.After(before) {
			t.Errorf("%s: the oldest is of %v, by inspect of %v; want one before %v", name,
				here.OldestSent, s.OldestSent, before)
		}
	}
}
