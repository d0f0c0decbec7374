package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// A receiving form is one way to receive: what it receives from has room for 4 messages.
type receiving struct {
	send   func() error // a message, of one of the ways to receive it
	recv   func(context.Context) error
	all    func(context.Context) iter.Seq[error] // a nil error is a message
	end    func() error
	handle func() error // closes the handle; nil: there is none
	close  func() error
}

// errorsOf is a sequence without the messages.
func errorsOf[T any](seq iter.Seq2[T, error]) iter.Seq[error] {
	return func(yield func(error) bool) {
		for _, err := range seq {
			if !yield(err) {
				return
			}
		}
	}
}

func receivingQueues(t *testing.T, forms map[string]func(dir string) receiving) {
	for _, single := range []bool{false, true} {
		name := "queue"
		if single {
			name = "single queue"
		}
		open := func(dir string) *queue.Queue[int64] {
			q, err := queue.Open[int64]("f", &queue.Options{Dir: dir, Capacity: 4, Single: single})
			check(t, err)
			return q
		}
		of := func(q *queue.Queue[int64]) receiving {
			return receiving{
				send: func() error { return q.TrySend(1) },
				all:  func(ctx context.Context) iter.Seq[error] { return errorsOf(q.All(ctx)) },
				end:  q.End, close: q.Close,
			}
		}
		handled := func(q *queue.Queue[int64]) (receiving, *queue.Receiver[int64]) {
			r, err := q.Receiver()
			check(t, err)
			f := of(q)
			f.all = func(ctx context.Context) iter.Seq[error] { return errorsOf(r.All(ctx)) }
			f.handle = r.Close
			return f, r
		}
		forms[name+" Recv"] = func(dir string) receiving {
			q := open(dir)
			f := of(q)
			f.recv = func(ctx context.Context) error { _, err := q.Recv(ctx); return err }
			return f
		}
		forms[name+" RecvFunc"] = func(dir string) receiving {
			q := open(dir)
			f := of(q)
			f.recv = func(ctx context.Context) error { return q.RecvFunc(ctx, func(*int64) error { return nil }) }
			return f
		}
		forms[name+" RecvBatch"] = func(dir string) receiving {
			q := open(dir)
			f := of(q)
			f.recv = func(ctx context.Context) error { _, err := q.RecvBatch(ctx, make([]int64, 1)); return err }
			return f
		}
		forms[name+" Receiver.Recv"] = func(dir string) receiving {
			f, r := handled(open(dir))
			f.recv = func(ctx context.Context) error { _, err := r.Recv(ctx); return err }
			return f
		}
		forms[name+" Receiver.RecvFunc"] = func(dir string) receiving {
			f, r := handled(open(dir))
			f.recv = func(ctx context.Context) error { return r.RecvFunc(ctx, func(*int64) error { return nil }) }
			return f
		}
		forms[name+" Receiver.RecvBatch"] = func(dir string) receiving {
			f, r := handled(open(dir))
			f.recv = func(ctx context.Context) error { _, err := r.RecvBatch(ctx, make([]int64, 1)); return err }
			return f
		}
		bytes := func(dir string) (receiving, *queue.Bytes) {
			q, err := queue.OpenBytes("f", &queue.BytesOptions{Dir: dir, Capacity: 4, Bytes: 64, Single: single})
			check(t, err)
			return receiving{
				send: func() error { return q.TrySend([]byte("a")) },
				all:  func(ctx context.Context) iter.Seq[error] { return errorsOf(q.All(ctx)) },
				end:  q.End, close: q.Close,
			}, q
		}
		forms[name+" of bytes Recv"] = func(dir string) receiving {
			f, q := bytes(dir)
			f.recv = func(ctx context.Context) error { _, err := q.Recv(ctx, nil); return err }
			return f
		}
		forms[name+" of bytes RecvFunc"] = func(dir string) receiving {
			f, q := bytes(dir)
			f.recv = func(ctx context.Context) error { return q.RecvFunc(ctx, func([]byte) error { return nil }) }
			return f
		}
	}
}

func receivingTopics(t *testing.T, forms map[string]func(dir string) receiving) {
	for name, how := range map[string]topic.Delivery{"Hold": topic.Hold, "NoHold": topic.NoHold, "Newest": topic.Newest} {
		for _, readOnly := range []bool{false, true} {
			if readOnly && how == topic.Hold {
				continue
			}
			open := func(dir string) (receiving, *topic.Subscription[int64]) {
				tp, err := topic.Open[int64]("f", &topic.Options{Dir: dir, Capacity: 4, Holds: 1})
				check(t, err)
				at := tp
				if readOnly {
					at, err = topic.Attach[int64]("f", &topic.Options{Dir: dir, ReadOnly: true})
					check(t, err)
				}
				s, err := at.Subscribe(topic.Now, how)
				check(t, err)
				return receiving{
					send: func() error { return tp.TryPublish(1) },
					all:  func(ctx context.Context) iter.Seq[error] { return errorsOf(s.All(ctx)) },
					end:  tp.End, handle: s.Close,
					close: func() error {
						if at != tp {
							check(t, at.Close())
						}
						return tp.Close()
					},
				}, s
			}
			name := fmt.Sprintf("topic %s read-only %v ", name, readOnly)
			forms[name+"Recv"] = func(dir string) receiving {
				f, s := open(dir)
				f.recv = func(ctx context.Context) error { _, err := s.Recv(ctx); return err }
				return f
			}
			forms[name+"RecvFunc"] = func(dir string) receiving {
				f, s := open(dir)
				f.recv = func(ctx context.Context) error { return s.RecvFunc(ctx, func(*int64) error { return nil }) }
				return f
			}
		}
	}
}

// TestContextsReceiving: one rule for all forms.
//
//   - A call that need not wait does not look at its context; one that would returns its error.
//   - All looks at it before each message, and before it looks for the end of the stream.
//   - A nil context is ErrBadOption where it is looked at.
//   - The end of the stream is io.EOF, and the end of All.
//   - A closed handle, and one that is closed with what it belongs to, is ErrClosed.
func TestContextsReceiving(t *testing.T) {
	forms := map[string]func(string) receiving{}
	receivingQueues(t, forms)
	receivingTopics(t, forms)
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, open := range forms {
		t.Run(name, func(t *testing.T) {
			f := open(shmemtest.Dir(t))
			is := func(err, want error) {
				t.Helper()
				var e *shmem.Error
				if !errors.Is(err, want) || want == nil && err != nil {
					t.Errorf("%v, want %v", err, want)
				} else if want != nil && want != io.EOF && (!errors.As(err, &e) || e.Op == "" || e.Name != "f") {
					t.Errorf("%v has no operation and name", err)
				}
			}
			// loop ranges over All and returns how many messages came, and the error at the end.
			loop := func(ctx context.Context, each func(n int)) (n int, err error) {
				for err = range f.all(ctx) {
					if err == nil {
						n++
						if each != nil {
							each(n)
						}
					}
				}
				return n, err
			}
			none := func(ctx context.Context, want error) {
				t.Helper()
				n, err := loop(ctx, nil)
				if is(err, want); n != 0 {
					t.Errorf("%d messages", n)
				}
			}
			is(f.recv(canceled), context.Canceled)
			is(f.recv(nil), shmem.ErrBadOption)
			none(canceled, context.Canceled)
			none(nil, shmem.ErrBadOption)
			for _, ctx := range []context.Context{canceled, nil} {
				check(t, f.send())
				none(canceled, context.Canceled)
				none(nil, shmem.ErrBadOption)
				is(f.recv(ctx), nil) // the message is still there
			}
			// All while messages keep coming, until its context is canceled by one of them.
			ctx, cancel := context.WithCancel(context.Background())
			check(t, f.send())
			n, err := loop(ctx, func(n int) {
				check(t, f.send())
				if n == 3 {
					cancel()
				}
			})
			if is(err, context.Canceled); n != 3 {
				t.Errorf("%d messages, want 3", n)
			}
			is(f.recv(canceled), nil)
			check(t, f.send())
			check(t, f.end())
			is(f.recv(nil), nil)
			for _, ctx := range []context.Context{context.Background(), canceled, nil} {
				is(f.recv(ctx), io.EOF)
			}
			none(canceled, context.Canceled)
			none(nil, shmem.ErrBadOption)
			if n, err := loop(context.Background(), nil); n != 0 || err != nil {
				t.Errorf("%d messages, %v at the end", n, err)
			}
			if f.handle != nil {
				check(t, f.handle())
				is(f.recv(context.Background()), shmem.ErrClosed)
				is(f.recv(nil), shmem.ErrClosed)
				none(context.Background(), shmem.ErrClosed)
				none(canceled, context.Canceled)
				check(t, f.handle())
			}
			check(t, f.close())
			is(f.recv(context.Background()), shmem.ErrClosed)
			is(f.recv(canceled), shmem.ErrClosed)
			none(context.Background(), shmem.ErrClosed)
			none(canceled, context.Canceled)
			none(nil, shmem.ErrBadOption)
		})
	}
}

// A sending form is one way to send; what it sends to has room for 2 messages.
type sending struct {
	send   func(context.Context) error
	end    func() error
	handle func() error
	close  func() error
}

func sendingForms(t *testing.T) map[string]func(dir string) sending {
	forms := map[string]func(dir string) sending{}
	for _, single := range []bool{false, true} {
		name := fmt.Sprintf("single %v ", single)
		open := func(dir string) (sending, *queue.Queue[int64]) {
			q, err := queue.Open[int64]("f", &queue.Options{
				Dir: dir, Capacity: 2, Single: single, Lifetime: shmem.Owned})
			check(t, err)
			return sending{end: q.End, close: q.Close}, q
		}
		handled := func(dir string) (sending, *queue.Sender[int64]) {
			f, q := open(dir)
			s, err := q.Sender()
			check(t, err)
			f.handle = s.Close
			return f, s
		}
		forms[name+"Send"] = func(dir string) sending {
			f, q := open(dir)
			f.send = func(ctx context.Context) error { return q.Send(ctx, 1) }
			return f
		}
		forms[name+"SendFunc"] = func(dir string) sending {
			f, q := open(dir)
			f.send = func(ctx context.Context) error { return q.SendFunc(ctx, func(*int64) error { return nil }) }
			return f
		}
		forms[name+"SendBatch"] = func(dir string) sending {
			f, q := open(dir)
			f.send = func(ctx context.Context) error { _, err := q.SendBatch(ctx, []int64{1}); return err }
			return f
		}
		forms[name+"Sender.Send"] = func(dir string) sending {
			f, s := handled(dir)
			f.send = func(ctx context.Context) error { return s.Send(ctx, 1) }
			return f
		}
		forms[name+"Sender.SendFunc"] = func(dir string) sending {
			f, s := handled(dir)
			f.send = func(ctx context.Context) error { return s.SendFunc(ctx, func(*int64) error { return nil }) }
			return f
		}
		forms[name+"Sender.SendBatch"] = func(dir string) sending {
			f, s := handled(dir)
			f.send = func(ctx context.Context) error { _, err := s.SendBatch(ctx, []int64{1}); return err }
			return f
		}
		bytes := func(dir string) (sending, *queue.Bytes) {
			q, err := queue.OpenBytes("f", &queue.BytesOptions{
				Dir: dir, Capacity: 2, Bytes: 32, Single: single, Lifetime: shmem.Owned})
			check(t, err)
			return sending{end: q.End, close: q.Close}, q
		}
		forms[name+"bytes Send"] = func(dir string) sending {
			f, q := bytes(dir)
			f.send = func(ctx context.Context) error { return q.Send(ctx, make([]byte, 8)) }
			return f
		}
		forms[name+"bytes SendFunc"] = func(dir string) sending {
			f, q := bytes(dir)
			f.send = func(ctx context.Context) error {
				return q.SendFunc(ctx, 8, func([]byte) error { return nil })
			}
			return f
		}
	}
	topics := func(dir string) (sending, *topic.Topic[int64]) {
		tp, err := topic.Open[int64]("f", &topic.Options{Dir: dir, Capacity: 2, Holds: 1})
		check(t, err)
		_, err = tp.Subscribe(topic.Now, topic.Hold)
		check(t, err)
		return sending{end: tp.End, close: tp.Close}, tp
	}
	forms["topic Publish"] = func(dir string) sending {
		f, tp := topics(dir)
		f.send = func(ctx context.Context) error { return tp.Publish(ctx, 1) }
		return f
	}
	forms["topic PublishFunc"] = func(dir string) sending {
		f, tp := topics(dir)
		f.send = func(ctx context.Context) error { return tp.PublishFunc(ctx, func(*int64) error { return nil }) }
		return f
	}
	return forms
}

// TestContextsSending: one rule for all forms, that of TestContextsReceiving.
func TestContextsSending(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, open := range sendingForms(t) {
		t.Run(name, func(t *testing.T) {
			f := open(shmemtest.Dir(t))
			is := func(err, want error) {
				t.Helper()
				var e *shmem.Error
				if !errors.Is(err, want) || want == nil && err != nil {
					t.Errorf("%v, want %v", err, want)
				} else if want != nil && (!errors.As(err, &e) || e.Op == "" || e.Name != "f") {
					t.Errorf("%v has no operation and name", err)
				}
			}
			is(f.send(canceled), nil)
			is(f.send(nil), nil)
			is(f.send(canceled), context.Canceled)
			is(f.send(nil), shmem.ErrBadOption)
			check(t, f.end())
			for _, ctx := range []context.Context{context.Background(), canceled, nil} {
				is(f.send(ctx), queue.ErrEnded)
			}
			if f.handle != nil {
				check(t, f.handle())
				is(f.send(context.Background()), shmem.ErrClosed)
			}
			check(t, f.close())
			for _, ctx := range []context.Context{context.Background(), canceled, nil} {
				is(f.send(ctx), shmem.ErrClosed)
			}
		})
	}
}

// TestContextsBatch: a batch that goes on because receivers keep up ends when its context does.
func TestContextsBatch(t *testing.T) {
	for _, single := range []bool{false, true} {
		q, err := queue.Open[int64]("f", &queue.Options{Dir: shmemtest.Dir(t), Capacity: 4, Single: single})
		check(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		sent := make(chan int, 1)
		go func() {
			n, err := q.SendBatch(ctx, make([]int64, 1<<20))
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			sent <- n
		}()
		for range 100 {
			_, err := q.Recv(context.Background())
			check(t, err)
		}
		cancel()
		got := 100
		for n := -1; got != n; {
			select {
			case n = <-sent:
				if n >= 1<<20 {
					t.Error("all of the batch was sent")
				}
			default:
			}
			if _, err := q.TryRecv(); err == nil {
				got++
			}
		}
		check(t, q.Close())
	}
}

// TestContextsWatch: the loops over a box follow the rule, too.
func TestContextsWatch(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	b, err := shmem.Open[point]("f", &shmem.Options{Dir: shmemtest.Dir(t)})
	check(t, err)
	is := func(err, want error) {
		t.Helper()
		var e *shmem.Error
		if !errors.Is(err, want) || !errors.As(err, &e) || e.Op == "" || e.Name != "f" {
			t.Errorf("%v, want %v with operation and name", err, want)
		}
	}
	first := func(ctx context.Context) (n int, err error) {
		for _, err = range b.Watch(ctx) {
			if err == nil {
				n++
			}
		}
		return n, err
	}
	for _, c := range []struct {
		ctx  context.Context
		want error
	}{{canceled, context.Canceled}, {nil, shmem.ErrBadOption}} {
		n, err := first(c.ctx)
		if is(err, c.want); n != 0 {
			t.Errorf("%d values", n)
		}
		is(b.Wait(c.ctx, b.Version()), c.want)
		check(t, b.Wait(c.ctx, b.Version()+1))
		check(t, b.Update(c.ctx, func(p *point) error { p.X++; return nil })) // nothing to wait for
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	for _, err = range b.Watch(ctx) {
		if err == nil {
			if n++; n == 3 {
				cancel()
			}
			check(t, b.Update(context.Background(), func(p *point) error { p.X++; return nil }))
		}
	}
	if is(err, context.Canceled); n != 3 {
		t.Errorf("%d values, want 3", n)
	}
	check(t, b.Close())
	_, err = first(context.Background())
	is(err, shmem.ErrClosed)
	_, err = first(canceled)
	is(err, context.Canceled)
	var none context.Context
	is(b.Wait(none, 0), shmem.ErrClosed)
}
