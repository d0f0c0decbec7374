//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/tests/replay/oracle"
	"github.com/shmembox/shmem/tests/replay/world"
)

// A mailbox is a queue, of any kind, to which a scenario sends numbers.
type mailbox struct {
	send func(ctx context.Context, m uint64) error
	recv func(ctx context.Context) (uint64, error)
	use  func(ctx context.Context, f func(m uint64)) error // receives a message when f has used it
	end  func() error
}

// looked is a time in which a death is found that only a look finds.
const looked = 250 * time.Millisecond

// typed opens a Queue of at most 2 messages for p; ends uses a Sender and a Receiver.
func typed(p *world.Process, single, ends bool) (m mailbox) {
	p.Do(func() {
		q, err := queue.Open[uint64]("q", &queue.Options{Capacity: 2, Single: single, Slots: 8})
		must(err, "open the queue")
		use := func(ctx context.Context, f func(uint64)) error {
			return q.RecvFunc(ctx, func(m *uint64) error { f(*m); return nil })
		}
		m = mailbox{q.Send, q.Recv, use, q.End}
		if !ends {
			return
		}
		var s *queue.Sender[uint64] // made by the first call: it takes the end
		m.send = func(ctx context.Context, v uint64) error {
			if s == nil {
				if s, err = q.Sender(); err != nil {
					return err
				}
			}
			return s.Send(ctx, v)
		}
		var r *queue.Receiver[uint64]
		m.recv = func(ctx context.Context) (uint64, error) {
			if r == nil {
				if r, err = q.Receiver(); err != nil {
					return 0, err
				}
			}
			return r.Recv(ctx)
		}
	})
	return m
}

// byteEnds are the methods of a Bytes, or those of its handles, which the first call makes: they
// take the ends of a Single queue.
type byteEnds struct {
	q    *queue.Bytes
	ends bool
	s    *queue.BytesSender
	r    *queue.BytesReceiver
}

func (e *byteEnds) send(ctx context.Context, b []byte) (err error) {
	if !e.ends {
		return e.q.Send(ctx, b)
	}
	if e.s == nil {
		if e.s, err = e.q.Sender(); err != nil {
			return err
		}
	}
	_, err = e.s.SendBatch(ctx, [][]byte{b})
	return err
}

func (e *byteEnds) recv(ctx context.Context) (b []byte, err error) {
	if !e.ends {
		return e.q.Recv(ctx, nil)
	}
	if e.r == nil {
		if e.r, err = e.q.Receiver(); err != nil {
			return nil, err
		}
	}
	return e.r.Recv(ctx, nil)
}

// raw opens a Bytes for p; ends uses handles.
func raw(p *world.Process, single, ends bool) (m mailbox) {
	p.Do(func() {
		q, err := queue.OpenBytes("q",
			&queue.BytesOptions{Capacity: 4, Bytes: 64, Single: single, Slots: 8})
		must(err, "open the queue")
		e := &byteEnds{q: q, ends: ends}
		m = mailbox{
			send: func(ctx context.Context, v uint64) error {
				b := binary.LittleEndian.AppendUint64(nil, v)
				return e.send(ctx, append(b, make([]byte, v%9)...))
			},
			use: func(ctx context.Context, f func(uint64)) error {
				return q.RecvFunc(ctx, func(b []byte) error {
					f(binary.LittleEndian.Uint64(b))
					return nil
				})
			},
			recv: func(ctx context.Context) (uint64, error) {
				b, err := e.recv(ctx)
				if err != nil {
					return 0, err
				}
				v := binary.LittleEndian.Uint64(b)
				if len(b) != 8+int(v%9) {
					world.Fail("message %#x has %d bytes", v, len(b))
				}
				return v, nil
			},
			end: q.End,
		}
	})
	return m
}

// traffic has senders that send, and receivers that receive until the stream ends.
type traffic struct {
	senders, receivers, each int
	killSenders              bool // or else receivers
	open                     func(p *world.Process) mailbox
}

func (t traffic) setup(r *world.Run) {
	books := &oracle.Messages{Order: t.killSenders} // redelivery is not in order
	last := r.Process("E").Spare()                  // ends the stream when all have sent
	box := t.open(last)
	var senders, receivers []*world.Process
	for i := range t.senders {
		p := r.Process(fmt.Sprintf("S%d", i))
		if !t.killSenders {
			p.Unkillable()
		}
		senders = append(senders, p)
		box := t.open(p)
		ctx := cancelable(r, p)
		p.Go("main", func() {
			for n := range t.each {
				m := oracle.Message(i+1, n)
				books.Begin(m)
				if err := box.send(ctx, m); done(ctx, err) {
					return
				} else {
					must(err, "Send")
				}
				books.Sent(m)
			}
		})
	}
	for i := range t.receivers {
		p := r.Process(fmt.Sprintf("R%d", i))
		if t.killSenders || i == t.receivers-1 {
			p.Unkillable()
		}
		receivers = append(receivers, p)
		box := t.open(p)
		p.Go("main", func() {
			for {
				m, err := box.recv(background)
				if errors.Is(err, io.EOF) {
					return
				}
				must(err, "Recv")
				books.Got(i, m)
			}
		})
	}
	last.Go("main", func() {
		for _, p := range senders {
			world.Await(func() bool { return !p.Alive() || p.Over() })
		}
		must(box.end(), "End")
	})
	r.Check(func() error {
		lost := 0 // a receiver that dies may have had a message in hand
		for _, p := range receivers {
			if !p.Alive() {
				lost++
			}
		}
		return books.Missing(lost)
	})
}

// leasing: receivers use messages in place. Each message is used to the end at least once, whatever
// process dies.
func leasing(open func(p *world.Process) mailbox) func(r *world.Run) {
	return func(r *world.Run) {
		sender := r.Process("S").Spare()
		box := open(sender)
		sent, used := map[uint64]bool{}, map[uint64]int{}
		sender.Go("main", func() {
			for n := range 3 {
				m := oracle.Message(1, n)
				must(box.send(background, m), "Send")
				sent[m] = true
			}
			must(box.end(), "End")
		})
		for i := range 2 {
			p := r.Process(fmt.Sprintf("R%d", i))
			if i == 1 {
				p.Spare()
			}
			box := open(p)
			p.Go("main", func() {
				for {
					err := box.use(background, func(m uint64) {
						world.Yield("uses a message")
						if used[m]++; used[m] > 1 && !r.Killed() {
							world.Fail("message %#x is used twice", m)
						}
					})
					if errors.Is(err, io.EOF) {
						return
					}
					must(err, "RecvFunc")
				}
			})
		}
		r.Check(func() error {
			for m := range sent {
				if used[m] == 0 {
					return fmt.Errorf("message %#x was not used", m)
				}
			}
			return nil
		})
	}
}

// local: two goroutines of a process receive what a third of the same process sends, and a second
// process.
func local(open func(p *world.Process) mailbox) func(r *world.Run) {
	return func(r *world.Run) {
		books := &oracle.Messages{Order: true}
		a, b := r.Process("A").Spare(), r.Process("B")
		boxA, boxB := open(a), open(b)
		sending := 2
		send := func(i int, box mailbox) func() {
			return func() {
				for n := range 2 {
					m := oracle.Message(i, n)
					books.Begin(m)
					must(box.send(background, m), "Send")
					books.Sent(m)
				}
				sending--
			}
		}
		for i := range 2 {
			a.Go(fmt.Sprint("recv", i), func() {
				for {
					m, err := boxA.recv(background)
					if errors.Is(err, io.EOF) {
						return
					}
					must(err, "Recv")
					books.Got(i, m)
				}
			})
		}
		a.Go("send", send(1, boxA))
		b.Go("send", send(2, boxB))
		a.Go("end", func() {
			world.Await(func() bool { return sending == 0 || sending == 1 && !b.Alive() })
			must(boxA.end(), "End")
		})
		r.Check(func() error { return books.Missing(0) })
	}
}

func init() {
	many := func(p *world.Process) mailbox { return typed(p, false, false) }
	handles := func(p *world.Process) mailbox { return typed(p, false, true) }
	single := func(p *world.Process) mailbox { return typed(p, true, false) }
	singleHandles := func(p *world.Process) mailbox { return typed(p, true, true) }
	bytes := func(p *world.Process) mailbox { return raw(p, false, false) }
	byteHandles := func(p *world.Process) mailbox { return raw(p, false, true) }
	singleBytes := func(p *world.Process) mailbox { return raw(p, true, false) }
	singleByteHandles := func(p *world.Process) mailbox { return raw(p, true, true) }

	scenario("queue", world.Config{Stops: 1, Wakes: 1}, traffic{2, 2, 2, true, many}.setup)
	scenario("queue-kill-sender", world.Config{Kills: 1, Idle: looked},
		traffic{2, 1, 2, true, many}.setup)
	scenario("queue-kill-receiver", world.Config{Kills: 1, Idle: looked},
		traffic{1, 2, 3, false, many}.setup)
	scenario("queue-cancel", world.Config{Cancels: 1, Stops: 1}, traffic{2, 1, 3, true, many}.setup)
	scenario("queue-handles", world.Config{Kills: 1, Idle: looked},
		traffic{2, 1, 2, true, handles}.setup)
	scenario("queue-single", world.Config{Stops: 1}, traffic{1, 1, 4, true, single}.setup)
	scenario("queue-single-handles", world.Config{Stops: 1, Wakes: 1},
		traffic{1, 1, 4, true, singleHandles}.setup)
	scenario("queue-single-kill", world.Config{Kills: 1, Idle: looked},
		traffic{1, 1, 4, true, single}.setup)
	scenario("queue-local", world.Config{Stops: 1, Local: true}, local(many))
	scenario("queue-local-kill", world.Config{Kills: 1, Local: true, Idle: looked}, local(many))
	scenario("queue-leases", world.Config{Kills: 1, Stops: 1, Idle: looked}, leasing(many))
	scenario("bytes-leases", world.Config{Kills: 1, Idle: looked}, leasing(bytes))
	scenario("queue-slowly", world.Config{Kills: 1, Idle: looked},
		slowly(traffic{2, 1, 2, true, many}.setup))
	scenario("bytes", world.Config{Stops: 1}, traffic{2, 2, 2, true, bytes}.setup)
	scenario("bytes-kill-sender", world.Config{Kills: 1, Idle: looked},
		traffic{2, 1, 2, true, bytes}.setup)
	scenario("bytes-kill-receiver", world.Config{Kills: 1, Idle: looked},
		traffic{1, 2, 3, false, bytes}.setup)
	scenario("bytes-handles", world.Config{Kills: 1, Idle: looked},
		traffic{2, 1, 2, true, byteHandles}.setup)
	scenario("bytes-single", world.Config{Kills: 1, Stops: 1, Idle: looked},
		traffic{1, 1, 4, true, singleBytes}.setup)
	scenario("bytes-single-handles", world.Config{Kills: 1, Stops: 1, Idle: looked},
		traffic{1, 1, 4, true, singleByteHandles}.setup)
}
