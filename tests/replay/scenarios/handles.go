//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/tests/replay/world"
)

// closingEnds: a call of a handle waits for a message, by Select or not, or for room, when another
// goroutine closes the handle. Nothing comes that would end the wait otherwise, and the queue stays
// open.
func closingEnds(single, sending, selects bool) func(r *world.Run) {
	return func(r *world.Run) {
		p := r.Process("A").Spare()
		var q *queue.Bytes
		var call func(context.Context) error
		var end func() error
		p.Do(func() {
			var err error
			q, err = queue.OpenBytes("q",
				&queue.BytesOptions{Capacity: 2, Bytes: 64, Single: single, Slots: 8})
			must(err, "open the queue")
			if !sending {
				in, err := q.Receiver()
				must(err, "Receiver")
				end = in.Close
				call = func(ctx context.Context) error { _, err := in.Recv(ctx, nil); return err }
				if selects {
					call = func(ctx context.Context) error {
						_, err := shmem.Select(ctx, in)
						return err
					}
				}
				return
			}
			out, err := q.Sender()
			must(err, "Sender")
			for out.TrySend(nil) == nil {
			}
			end = out.Close
			call = func(ctx context.Context) error { return out.Send(ctx, nil) }
		})
		caller := p.Go("call", func() {
			if err := call(background); !errors.Is(err, shmem.ErrClosed) {
				world.Fail("a call that waits: %v", err)
			}
		})
		p.Go("close", func() {
			world.Await(func() bool { return caller.Blocked() || caller.Done() })
			must(end(), "Close")
			must(q.End(), "End")
		})
	}
}

// batches: a sender sends more messages at once than there is room for, and may be cancelled; a
// receiver receives batches. What SendBatch counts arrives, in order, and nothing else.
func batches(single bool) func(r *world.Run) {
	return func(r *world.Run) {
		open := func(p *world.Process) (q *queue.Bytes) {
			p.Do(func() {
				var err error
				q, err = queue.OpenBytes("q",
					&queue.BytesOptions{Capacity: 2, Bytes: 64, Single: single, Slots: 8})
				must(err, "open the queue")
			})
			return q
		}
		a, b := r.Process("A").Spare(), r.Process("B").Spare()
		out, in := open(a), open(b)
		ctx := cancelable(r, a)
		sent, got := 0, 0
		a.Go("main", func() {
			batch := make([][]byte, 7)
			for i := range batch {
				batch[i] = make([]byte, 8+i)
			}
			n, err := out.SendBatch(ctx, batch)
			if sent = n; !done(ctx, err) {
				must(err, "SendBatch")
			}
			must(out.End(), "End")
		})
		b.Go("main", func() {
			bufs := make([][]byte, 2)
			for {
				n, err := in.RecvBatch(background, bufs)
				if errors.Is(err, io.EOF) {
					return
				}
				must(err, "RecvBatch")
				for i := range n {
					if len(bufs[i]) != 8+got {
						world.Fail("message %d has %d bytes", got, len(bufs[i]))
					}
					got++
				}
			}
		})
		r.Check(func() error {
			if got != sent {
				return fmt.Errorf("%d messages sent, %d received", sent, got)
			}
			return nil
		})
	}
}

// piping: one process writes a stream and ends it, another one reads it. The reader gets the pieces
// in order, and io.EOF after all of them, or io.ErrUnexpectedEOF after some if the writer dies.
// A writer whose reader dies is told where it would wait.
func piping(r *world.Run) {
	const pieces, size = 5, 6 // 6 is a quarter of MaxLen
	open := func(p *world.Process) (q *queue.Bytes) {
		p.Do(func() {
			var err error
			q, err = queue.OpenBytes("q", &queue.BytesOptions{Bytes: 64, Single: true, Slots: 8})
			must(err, "open the queue")
		})
		return q
	}
	a, b := r.Process("A"), r.Process("B")
	out, in := open(a), open(b)
	var w *queue.Writer // both come before one can die: a peer that has not come is waited for
	var rd *queue.Reader
	a.Do(func() {
		var err error
		w, err = out.Writer(background)
		must(err, "Writer")
	})
	b.Do(func() {
		var err error
		rd, err = in.Reader(background)
		must(err, "Reader")
	})
	a.Go("main", func() {
		for n := range pieces {
			_, err := w.Write(bytes.Repeat([]byte{byte(n)}, size))
			if errors.Is(err, io.ErrClosedPipe) && !b.Alive() {
				return
			}
			must(err, "Write")
		}
		must(w.Close(), "Close")
	})
	b.Go("main", func() {
		p, got := make([]byte, 3), 0
		for {
			n, err := rd.Read(p)
			for _, c := range p[:n] {
				if int(c) != got/size {
					world.Fail("byte %d of the stream is %d", got, c)
				}
				got++
			}
			switch {
			case errors.Is(err, io.ErrUnexpectedEOF) && !a.Alive() && got%size == 0:
				return
			case err == io.EOF && got == pieces*size:
				return
			case err != nil:
				world.Fail("%v after %d bytes", err, got)
			}
		}
	})
}

// drafting: a process reserves slots, and sends or cancels its drafts in another order. It may die
// at any time. What it has sent arrives, in the order of its reservations, and nothing else does.
func drafting(r *world.Run) {
	open := func(p *world.Process) (q *queue.Queue[uint64]) {
		p.Do(func() {
			var err error
			q, err = queue.Open[uint64]("q", &queue.Options{Capacity: 4, Slots: 8})
			must(err, "open the queue")
		})
		return q
	}
	a, b := r.Process("A"), r.Process("B").Spare()
	out, in := open(a), open(b)
	var began, sent [4]bool
	a.Go("main", func() {
		var drafts [4]*queue.Draft[uint64]
		for i := range drafts {
			d, err := out.Reserve(background)
			must(err, "Reserve")
			*d.Value() = uint64(i)
			drafts[i] = d
		}
		drafts[1].Cancel()
		for _, i := range []int{3, 0, 2} {
			began[i] = true
			must(drafts[i].Send(), "Send")
			sent[i] = true
		}
		must(out.End(), "End")
	})
	b.Go("end", func() {
		world.Await(func() bool { return !a.Alive() || a.Over() })
		must(in.End(), "End")
	})
	var got [4]bool
	b.Go("main", func() {
		last := -1
		for {
			v, err := in.Recv(background)
			if errors.Is(err, io.EOF) {
				return
			}
			must(err, "Recv")
			if int(v) <= last || !began[v] {
				world.Fail("message %d after %d, begun: %v", v, last, began[v])
			}
			last, got[v] = int(v), true
		}
	})
	r.Check(func() error {
		for i := range sent {
			if sent[i] && !got[i] {
				return fmt.Errorf("message %d is lost", i)
			}
		}
		return nil
	})
}

// clockless: calls that do not block find nothing, again and again, in no time. They look at the
// clock once, for the one repair that is due.
func clockless(single bool) func(r *world.Run) {
	return func(r *world.Run) {
		p := r.Process("A").Spare()
		var q *queue.Queue[uint64]
		p.Do(func() {
			var err error
			q, err = queue.Open[uint64]("q",
				&queue.Options{Capacity: 2, Single: single, Slots: 8})
			must(err, "open the queue")
		})
		p.Go("main", func() {
			must(q.Send(background, 1), "Send")
			_, err := q.Recv(background)
			must(err, "Recv")
			looks := world.ClockLooks()
			for range 20 {
				if _, err := q.TryRecv(); !errors.Is(err, queue.ErrEmpty) {
					world.Fail("TryRecv: %v", err)
				}
			}
			for q.TrySend(1) == nil {
			}
			for range 20 {
				if err := q.TrySend(1); !errors.Is(err, queue.ErrFull) {
					world.Fail("TrySend: %v", err)
				}
			}
			if n := world.ClockLooks() - looks; n > 1 {
				world.Fail("calls that do not block looked at the clock %d times", n)
			}
		})
	}
}

func init() {
	scenario("ends-close-recv", world.Config{Stops: 1}, closingEnds(false, false, false))
	scenario("ends-close-send", world.Config{Stops: 1}, closingEnds(false, true, false))
	scenario("ends-close-single-recv", world.Config{Stops: 1}, closingEnds(true, false, false))
	scenario("ends-close-single-send", world.Config{Stops: 1}, closingEnds(true, true, false))
	scenario("ends-close-select", world.Config{Stops: 1}, closingEnds(false, false, true))
	scenario("ends-close-single-select", world.Config{Stops: 1}, closingEnds(true, false, true))
	scenario("bytes-batch", world.Config{Stops: 1, Cancels: 1}, batches(false))
	scenario("bytes-batch-single", world.Config{Stops: 1, Cancels: 1}, batches(true))
	scenario("queue-drafts", world.Config{Kills: 1, Stops: 1, Idle: looked}, drafting)
	scenario("bytes-stream", world.Config{Kills: 1, Stops: 1, Idle: looked}, piping)
	scenario("queue-try-clock", world.Config{}, clockless(false))
	scenario("queue-try-clock-single", world.Config{}, clockless(true))
}
