package queue_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// names checks that err is a *shmem.Error of that operation and name with that cause.
func names(t testing.TB, err error, op, name string, cause error) {
	t.Helper()
	e, ok := err.(*shmem.Error)
	if !ok || e.Op != op || e.Name != name || !errors.Is(err, cause) {
		t.Errorf("error %v, want one of %q on %q: %v", err, op, name, cause)
	}
	if ok && !strings.HasPrefix(err.Error(), "shmem: "+op+" "+name+": ") {
		t.Errorf("text %q", err)
	}
}

// errs are errors by what returned them.
type errs map[string]error

// itemErrors calls every method of a queue that can fail, with a context that is done.
func itemErrors(q *queue.Queue[int], s *queue.Sender[int], r *queue.Receiver[int]) (send, recv, other errs) {
	ctx, cancel := context.WithCancel(background)
	cancel()
	f := func(*int) error { return nil }
	send, recv, other = errs{}, errs{}, errs{}
	send["Send"] = q.Send(ctx, 1)
	send["TrySend"] = q.TrySend(1)
	send["SendFunc"] = q.SendFunc(ctx, f)
	_, send["SendBatch"] = q.SendBatch(ctx, []int{1})
	_, recv["Recv"] = q.Recv(ctx)
	_, recv["TryRecv"] = q.TryRecv()
	recv["RecvFunc"] = q.RecvFunc(ctx, f)
	_, recv["RecvBatch"] = q.RecvBatch(ctx, make([]int, 1))
	_, recv["Take"] = q.Take(ctx)
	_, recv["TryTake"] = q.TryTake()
	recv["Wait"] = q.Wait(ctx)
	for _, err := range q.All(background) {
		recv["All"] = err
		break
	}
	if s != nil {
		send["Sender.Send"] = s.Send(ctx, 1)
		send["Sender.TrySend"] = s.TrySend(1)
		send["Sender.SendFunc"] = s.SendFunc(ctx, f)
		_, send["Sender.SendBatch"] = s.SendBatch(ctx, []int{1})
		_, recv["Receiver.Recv"] = r.Recv(ctx)
		_, recv["Receiver.TryRecv"] = r.TryRecv()
		recv["Receiver.RecvFunc"] = r.RecvFunc(ctx, f)
		_, recv["Receiver.RecvBatch"] = r.RecvBatch(ctx, make([]int, 1))
		recv["Receiver.Wait"] = r.Wait(ctx)
		_, recv["Receiver.Take"] = r.Take(ctx)
		_, recv["Receiver.TryTake"] = r.TryTake()
	}
	_, send["Queue.Sender"] = q.Sender()
	_, recv["Queue.Receiver"] = q.Receiver()
	_, other["stats"] = q.Stats()
	other["end"] = q.End()
	return send, recv, other
}

func byteErrors(q *queue.Bytes) (send, recv, other errs) {
	ctx, cancel := context.WithCancel(background)
	cancel()
	f := func([]byte) error { return nil }
	send, recv, other = errs{}, errs{}, errs{}
	send["Send"] = q.Send(ctx, nil)
	send["TrySend"] = q.TrySend(nil)
	send["SendFunc"] = q.SendFunc(ctx, 1, f)
	_, send["Write"] = q.Write(nil)
	_, recv["Recv"] = q.Recv(ctx, nil)
	_, recv["TryRecv"] = q.TryRecv(nil)
	recv["RecvFunc"] = q.RecvFunc(ctx, f)
	_, recv["Take"] = q.Take(ctx)
	_, recv["TryTake"] = q.TryTake()
	recv["Wait"] = q.Wait(ctx)
	for _, err := range q.All(background) {
		recv["All"] = err
		break
	}
	_, other["stats"] = q.Stats()
	other["end"] = q.End()
	return send, recv, other
}

// TestErrorsAfterClose calls every method of every form after Close, also those of handles.
func TestErrorsAfterClose(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		o := options(shmemtest.Dir(t))
		o.Single = single
		q, err := queue.Create[int]("q", o)
		check(t, err)
		s, err := q.Sender()
		check(t, err)
		r, err := q.Receiver()
		check(t, err)
		check(t, q.Close())
		send, recv, other := itemErrors(q, s, r)
		allAre(t, "q", shmem.ErrClosed, send, recv, other)
		check(t, s.Close())
		check(t, r.Close())
		b, err := queue.CreateBytes("b", &queue.BytesOptions{Lifetime: shmem.Owned, Dir: o.Dir, Single: single})
		check(t, err)
		check(t, b.Close())
		send, recv, other = byteErrors(b)
		allAre(t, "b", shmem.ErrClosed, send, recv, other)
	})
}

// TestErrorsReadOnly calls every method of every form on an attachment that cannot write.
func TestErrorsReadOnly(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		dir := shmemtest.Dir(t)
		open[int](t, dir, shaped(single, 4))
		openBytes(t, dir, shapedBytes(single, 4))
		q, err := queue.Attach[int]("q", &queue.Options{Lifetime: shmem.Owned, Dir: dir, ReadOnly: true})
		check(t, err)
		defer q.Close()
		send, recv, other := itemErrors(q, nil, nil)
		delete(other, "stats") // which needs no right to write
		allAre(t, "q", shmem.ErrReadOnly, send, recv, other)
		b, err := queue.AttachBytes("b", &queue.BytesOptions{Lifetime: shmem.Owned, Dir: dir, ReadOnly: true})
		check(t, err)
		defer b.Close()
		send, recv, other = byteErrors(b)
		delete(other, "stats")
		allAre(t, "b", shmem.ErrReadOnly, send, recv, other)
	})
}

// allAre checks errors of a queue of that name.
func allAre(t *testing.T, name string, cause error, send, recv, other errs) {
	t.Helper()
	for what, err := range send {
		t.Run(what, func(t *testing.T) { names(t, err, "queue send", name, cause) })
	}
	for what, err := range recv {
		t.Run(what, func(t *testing.T) { names(t, err, "queue receive", name, cause) })
	}
	for what, err := range other {
		t.Run(what, func(t *testing.T) { names(t, err, "queue "+what, name, cause) })
	}
}

// TestErrorsOfState has full, empty, ended and taken queues of every form, and messages that are
// too large.
func TestErrorsOfState(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		dir := shmemtest.Dir(t)
		q := open[int](t, dir, shaped(single, 2))
		b := openBytes(t, dir, shapedBytes(single, 2))
		expired, cancel := context.WithCancel(background)
		cancel()
		_, err := q.TryRecv()
		names(t, err, "queue receive", "q", queue.ErrEmpty)
		_, err = b.TryRecv(nil)
		names(t, err, "queue receive", "b", queue.ErrEmpty)
		_, err = q.Recv(expired)
		names(t, err, "queue receive", "q", context.Canceled)
		_, err = b.Recv(expired, nil)
		names(t, err, "queue receive", "b", context.Canceled)
		names(t, b.Send(background, make([]byte, b.MaxLen()+1)), "queue send", "b", queue.ErrTooBig)
		for q.TrySend(1) == nil {
		}
		for b.TrySend(make([]byte, 8)) == nil {
		}
		names(t, q.TrySend(1), "queue send", "q", queue.ErrFull)
		names(t, b.TrySend(make([]byte, 8)), "queue send", "b", queue.ErrFull)
		names(t, q.Send(expired, 1), "queue send", "q", context.Canceled)
		names(t, b.Send(expired, make([]byte, 8)), "queue send", "b", context.Canceled)
		if single {
			other := open[int](t, dir, nil)
			names(t, other.TrySend(1), "queue send", "q", queue.ErrTaken)
			_, err := other.TryRecv()
			names(t, err, "queue receive", "q", queue.ErrTaken)
		}
		check(t, q.End())
		check(t, b.End())
		names(t, q.Send(background, 1), "queue send", "q", queue.ErrEnded)
		names(t, b.Send(background, nil), "queue send", "b", queue.ErrEnded)
		for range q.All(background) {
		}
		for range b.All(background) {
		}
		if _, err := q.Recv(background); err != io.EOF {
			t.Errorf("%v at the end, want io.EOF itself", err)
		}
		if _, err := b.Recv(background, nil); err != io.EOF {
			t.Errorf("%v at the end, want io.EOF itself", err)
		}
	})
}

// TestErrorsOfFunctions checks that the error of a caller's function comes back as it is.
func TestErrorsOfFunctions(t *testing.T) {
	oops := errors.New("oops")
	forms(t, func(t *testing.T, single bool) {
		dir := shmemtest.Dir(t)
		q := open[int](t, dir, shaped(single, 2))
		b := openBytes(t, dir, shapedBytes(single, 2))
		if err := q.SendFunc(background, func(*int) error { return oops }); err != oops {
			t.Error(err)
		}
		if err := b.SendFunc(background, 1, func([]byte) error { return oops }); err != oops {
			t.Error(err)
		}
		check(t, q.Send(background, 1))
		check(t, b.Send(background, nil))
		if err := q.RecvFunc(background, func(*int) error { return oops }); err != oops {
			t.Error(err)
		}
		if err := b.RecvFunc(background, func([]byte) error { return oops }); err != oops {
			t.Error(err)
		}
	})
}

// TestCanceledContext checks the one rule: a call that need not block does not look at the context,
// and All looks at it before every message.
func TestCanceledContext(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		dir := shmemtest.Dir(t)
		q := open[int](t, dir, shaped(single, 4))
		b := openBytes(t, dir, shapedBytes(single, 4))
		ctx, cancel := context.WithCancel(background)
		cancel()
		check(t, q.Send(ctx, 1))
		check(t, b.Send(ctx, []byte{1}))
		for _, err := range q.All(ctx) {
			names(t, err, "queue receive", "q", context.Canceled)
		}
		for p, err := range b.All(ctx) {
			names(t, err, "queue receive", "b", context.Canceled)
			if p != nil {
				t.Errorf("%v with an error", p)
			}
		}
		if v, err := q.Recv(ctx); v != 1 || err != nil {
			t.Error(v, err)
		}
		if p, err := b.Recv(ctx, nil); len(p) != 1 || err != nil {
			t.Error(p, err)
		}
		check(t, q.Close())
		check(t, b.Close())
	})
	forms(t, func(t *testing.T, single bool) { // with handles, in the middle of a loop
		q := open[int](t, shmemtest.Dir(t), shaped(single, 4))
		s, err := q.Sender()
		check(t, err)
		r, err := q.Receiver()
		check(t, err)
		for i := range 4 {
			check(t, s.Send(background, i))
		}
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		n := 0
		for v, err := range r.All(ctx) {
			if n == 2 {
				names(t, err, "queue receive", "q", context.Canceled)
				break
			}
			check(t, err)
			if n++; v == 1 {
				cancel()
			}
		}
		if v, err := r.Recv(ctx); v != 2 || err != nil {
			t.Errorf("%d, %v after the loop, want message 2", v, err)
		}
	})
}

// TestErrorsNameWhatIsClosed closes an end, and then the queue.
func TestErrorsNameWhatIsClosed(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		q := open[int](t, shmemtest.Dir(t), shaped(single, 4))
		s, err := q.Sender()
		check(t, err)
		r, err := q.Receiver()
		check(t, err)
		check(t, s.Close())
		check(t, r.Close())
		says := func(err error, text string) {
			t.Helper()
			if want(t, err, shmem.ErrClosed); err.Error() != "shmem: queue "+text {
				t.Errorf("%v, want %s", err, text)
			}
		}
		_, err = r.TryRecv()
		says(err, "receive q: the receiver is closed")
		says(s.TrySend(1), "send q: the sender is closed")
		check(t, q.Close())
		says(s.TrySend(1), "send q: the queue is closed")
		says(q.TrySend(1), "send q: the queue is closed")
		says(q.End(), "end q: the queue is closed")
	})
}
