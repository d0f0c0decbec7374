package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem/bridge/nats/internal/at"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
)

// ackWait is after which time the server delivers a message again that was not acknowledged. A
// message that waits for room in the mirror says in time that it is still being worked on.
const ackWait = 2 * time.Second

// ackPending is how many frames the server delivers before one of them is acknowledged.
const ackPending = 1 << 12

// pullQueue is how many frames wait here: while the mirror is full each has to be said to be worked
// on.
const pullQueue = 64

// settleFor is how long a bridge looks for what the one before has done.
const settleFor = 5 * time.Second

var errUnsettled = errors.New("what was applied is not known yet: a process may be stopped")

// A storer sends the messages of a work-queue stream to the mirror of a queue. It is the only
// sender. What was applied is remembered by the position at the origin: a server that is killed
// forgets which messages it has seen.
type storer struct {
	b           *Bridge
	r           *route
	kv          jetstream.KeyValue
	s           *queueState
	q           messages // nil: not opened yet
	fingerprint uint64
	size        int    // of an item; -1: any
	sent        uint64 // messages of the mirror
	incarnation uint64 // of the last frame
	table       int    // its table
	messages    []message
	waiting     []arrival // those that are not acknowledged
}

// queueIn mirrors a work-queue stream to a queue.
func (b *Bridge) queueIn(ctx context.Context, r *route, kv jetstream.KeyValue) error {
	s, err := openState[queueWords](b.o.Dir, r)
	if err != nil {
		return err
	}
	defer s.close()
	x := &storer{b: b, r: r, kv: kv, s: &queueState{s}, table: -1}
	defer x.close()
	if err := x.settle(ctx); err != nil {
		return err
	}
	cons, err := b.js.CreateOrUpdateConsumer(ctx, r.stream(b.o.Prefix), jetstream.ConsumerConfig{
		Durable: "bridge", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		MaxAckPending: ackPending,
	})
	if err != nil {
		return err
	}
	return b.receive(ctx, r, cons, pullQueue, x.gone, x.takeAll)
}

// gone reports whether the mirror was removed.
func (x *storer) gone() bool { return x.q != nil && closed(x.q.unlinked()) }

func (x *storer) close() {
	if x.q != nil {
		_ = x.q.close()
	}
}

// settle finds out whether the message that a bridge was about to send when it died was sent.
func (x *storer) settle(ctx context.Context) error {
	w := x.s.words()
	if w.Intent.Load() == 0 {
		return nil
	}
	t, position := &w.Tables[w.Table.Load()%origins], w.Position.Load()
	if t.has(position) {
		w.Intent.Store(0)
		return nil
	}
	for begun := time.Now(); time.Since(begun) < settleFor && ctx.Err() == nil; {
		sent, known, err := x.wasSent(w.Local.Load(), w.Skipped.Load())
		if err != nil {
			return err
		}
		if known {
			if sent {
				t.add(position)
			}
			w.Intent.Store(0)
			step.Reach(at.QueueInSettled)
			return nil
		}
		sleep(ctx, 5*time.Millisecond)
	}
	return errUnsettled
}

// wasSent reports whether the mirror's message of that number was sent. It is not known while the
// slot of a sender that died is not skipped.
func (x *storer) wasSent(number, skipped uint64) (sent, known bool, err error) {
	o, err := inspect.Open(x.b.o.Dir, x.r.segment)
	if errors.Is(err, fs.ErrNotExist) {
		return false, true, nil // the mirror was removed
	}
	if err != nil {
		return false, false, err
	}
	defer o.Close()
	st, err := o.Stats()
	if err != nil {
		return false, false, err
	}
	switch {
	case st.Sent <= number || st.Skipped > skipped:
		return false, true, nil
	case st.Received > number:
		return true, true, nil
	}
	for _, l := range st.Leases {
		if l.What == "send" && !l.Alive {
			return false, true, nil
		}
	}
	all, err := o.Messages(0)
	if err != nil {
		return false, false, nil
	}
	for _, m := range all {
		if m.Seq == number {
			return true, true, nil
		}
	}
	return false, false, nil
}

// open opens the mirror.
func (x *storer) open(ctx context.Context, fingerprint uint64) error {
	var item *format.Type
	var err error
	size := -1
	if fingerprint != bytesPrint {
		if item, err = x.b.schema(ctx, x.kv, fingerprint); err != nil {
			return err
		}
		size = item.Size
	}
	q, err := x.b.mirrorMessages(x.r.segment, item)
	if err != nil {
		return err
	}
	x.close()
	x.q, x.fingerprint, x.size = q, fingerprint, size
	o, err := inspect.Open(x.b.o.Dir, x.r.segment)
	if err != nil {
		return err
	}
	defer o.Close()
	st, err := o.Stats()
	if err == nil {
		x.sent = st.Sent
		x.s.words().Skipped.Store(st.Skipped)
	}
	return err
}

// takeAll sends the messages of some frames.
func (x *storer) takeAll(ctx context.Context, all []arrival) error {
	for i := range all {
		step.Reach(at.QueueInReceived)
		x.waiting = all[i:]
		if err := x.take(ctx, &all[i]); err != nil {
			return err
		}
		x.r.stats.moved()
	}
	return nil
}

// take sends the messages of a frame.
func (x *storer) take(ctx context.Context, a *arrival) error {
	f, err := x.parse(ctx, a)
	if errors.Is(err, errFrame) {
		return x.bury(ctx, a, err)
	}
	if err != nil {
		return err
	}
	if a.md.NumDelivered > 1 {
		x.r.stats.redelivered.Add(1)
	}
	if x.table < 0 || x.incarnation != f.incarnation {
		x.incarnation, x.table = f.incarnation, x.s.table(f.incarnation)
	}
	for i := range x.messages {
		if err := x.once(ctx, &f, &x.messages[i]); err != nil {
			return err
		}
	}
	step.Reach(at.QueueInApplied)
	err = a.ack()
	step.Reach(at.QueueInAcked)
	return err
}

// parse finds the messages of a frame, and opens the mirror for them. The error is errFrame if they
// can never be read.
func (x *storer) parse(ctx context.Context, a *arrival) (f frame, err error) {
	var body []byte
	if f, body, err = anyFrame(a.msg.Data); err != nil {
		return f, err
	}
	if x.messages, err = appendMessages(x.messages[:0], &f, body); err != nil {
		return f, err
	}
	if x.q == nil || f.fingerprint != x.fingerprint {
		if err := x.open(ctx, f.fingerprint); err != nil {
			return f, x.b.unfit(ctx, x.r, f.fingerprint, err)
		}
		step.Reach(at.QueueInOpened)
	}
	for _, m := range x.messages {
		if x.size >= 0 && len(m.body) != x.size {
			return f, fmt.Errorf("%w: %d bytes, a message has %d", errFrame, len(m.body), x.size)
		}
	}
	return f, nil
}

// once sends a message that was not sent before. What it is about to do is noted before it does.
func (x *storer) once(ctx context.Context, f *frame, m *message) error {
	w := x.s.words()
	t := &w.Tables[x.table]
	if t.has(m.position) {
		x.r.stats.duplicates.Add(1)
		return nil
	}
	if most := x.q.most(); len(m.body) > most {
		alone := *f
		alone.kind, alone.sequence = codes[kindQueue], m.position
		err := x.dead(ctx, append(alone.append(nil), m.body...),
			fmt.Errorf("%d bytes, the mirror takes %d", len(m.body), most))
		if err == nil {
			t.add(m.position)
		}
		return err
	}
	t.reach(m.position)
	w.Table.Store(uint64(x.table))
	w.Position.Store(m.position)
	w.Local.Store(x.sent)
	w.Intent.Store(1)
	step.Reach(at.QueueInIntent)
	if err := x.send(ctx, m.body); err != nil {
		return err
	}
	step.Reach(at.QueueInSent)
	x.sent++
	t.add(m.position)
	step.Reach(at.QueueInDone)
	w.Intent.Store(0)
	x.r.stats.sent.Add(1)
	return nil
}

// send sends to the mirror. While it is full the server is told that what it has delivered is being
// worked on, so that it waits: the stream fills, then the queue at the origin.
func (x *storer) send(ctx context.Context, body []byte) error {
	for {
		wait, cancel := context.WithTimeout(ctx, ackWait/4)
		err := x.q.send(wait, body)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if x.gone() {
			return errBegin
		}
		x.r.stats.moved()
		// These are in the stream too, until they are acknowledged.
		x.r.stats.lag.Store(max(x.r.stats.lag.Load(), int64(len(x.waiting))))
		for i := range x.waiting {
			if err := x.waiting[i].inProgress(); err != nil {
				return err
			}
		}
	}
}

// bury moves a message that cannot be read to the dead letters.
func (x *storer) bury(ctx context.Context, a *arrival, cause error) error {
	if err := x.dead(ctx, a.msg.Data, cause); err != nil {
		return err
	}
	return a.term()
}

// dead stores a dead letter.
func (x *storer) dead(ctx context.Context, data []byte, cause error) error {
	m := letter(data, cause.Error(), int(x.b.nc.MaxPayload()))
	m.Subject = x.b.o.Prefix + ".dead." + x.r.name
	if _, err := x.b.js.PublishMsg(ctx, m); err != nil {
		return err
	}
	step.Reach(at.QueueInBuried)
	x.r.stats.poison.Add(1)
	x.b.o.Logger.Warn("dead letter", "route", x.r.String(), "error", cause)
	return nil
}

// letter returns a dead letter of so many bytes at most. Another program may have written a message
// that leaves no room for the cause: its end is cut, and a header says how long it was.
func letter(data []byte, cause string, most int) *nats.Msg {
	const header, least = 100, 200 // bytes of the header without the cause, and for the cause
	if room := max(most-header-len(data), least); len(cause) > room {
		cause = strings.ToValidUTF8(cause[:room], "")
	}
	m := &nats.Msg{Header: nats.Header{"Shmem-Cause": {cause}}, Data: data}
	if room := max(most-header-len(cause), 0); len(data) > room {
		m.Data = data[:room]
		m.Header.Set("Shmem-Length", strconv.Itoa(len(data)))
	}
	return m
}
