package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
)

// ackWait is after which time the server delivers a message again that was not acknowledged. A
// message that waits for room in the mirror says in time that it is still being worked on.
const ackWait = 2 * time.Second

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
	s           *state
	q           messages // nil: not opened yet
	fingerprint uint64
	size        int    // of an item; -1: any
	sent        uint64 // messages of the mirror
}

// queueIn mirrors a work-queue stream to a queue.
func (b *Bridge) queueIn(ctx context.Context, r *route, kv jetstream.KeyValue) error {
	s, err := openState(b.o.Dir, r)
	if err != nil {
		return err
	}
	defer s.close()
	x := &storer{b: b, r: r, kv: kv, s: s}
	defer x.close()
	if err := x.settle(ctx); err != nil {
		return err
	}
	cons, err := b.js.CreateOrUpdateConsumer(ctx, r.stream(b.o.Prefix), jetstream.ConsumerConfig{
		Durable: "bridge", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		MaxAckPending: remembered / 4,
	})
	if err != nil {
		return err
	}
	return b.receive(ctx, r, cons, x.gone, x.take)
}

// gone reports whether the mirror was removed.
func (x *storer) gone() bool { return x.q != nil && closed(x.q.unlinked()) }

func (x *storer) close() {
	if x.q != nil {
		_ = x.q.close()
	}
}

// key names a message of the origin. It is never 0.
func key(f *frame) uint64 { return (f.incarnation*0x9e3779b97f4a7c15 ^ f.sequence) | 1<<63 }

// settle finds out whether the message that a bridge was about to send when it died was sent.
func (x *storer) settle(ctx context.Context) error {
	w := x.s.words()
	k := w.Key.Load()
	done := &w.Done[w.Position.Load()%remembered]
	if k == 0 || done.Load() == k {
		return nil
	}
	for begun := time.Now(); time.Since(begun) < settleFor && ctx.Err() == nil; {
		sent, known, err := x.wasSent(w.Local.Load(), w.Skipped.Load())
		if err != nil {
			return err
		}
		if known {
			if sent {
				done.Store(k)
			}
			w.Key.Store(0)
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
	x.size = -1
	if fingerprint != bytesPrint {
		if item, err = getSchema(ctx, x.kv, fingerprint); err != nil {
			return err
		}
		x.size = item.Size
	}
	x.close()
	x.q = nil
	q, err := x.b.mirrorMessages(x.r.segment, item)
	if err != nil {
		return err
	}
	x.q, x.fingerprint = q, fingerprint
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

// take sends one message.
func (x *storer) take(ctx context.Context, msg jetstream.Msg, md *jetstream.MsgMetadata) error {
	f, body, err := parseFrame(codes[kindQueue], msg.Data())
	if err == nil && (x.q == nil || f.fingerprint != x.fingerprint) {
		if err := x.open(ctx, f.fingerprint); err != nil {
			return err
		}
	}
	if err == nil && x.size >= 0 && len(body) != x.size {
		err = fmt.Errorf("%w: %d bytes, a message has %d", errFrame, len(body), x.size)
	}
	if err != nil {
		return x.bury(ctx, msg, err)
	}
	if md.NumDelivered > 1 {
		x.r.stats.redelivered.Add(1)
	}
	w, k := x.s.words(), key(&f)
	done := &w.Done[f.sequence%remembered]
	if done.Load() == k {
		x.r.stats.duplicates.Add(1)
		return msg.Ack()
	}
	w.Key.Store(0)
	w.Position.Store(f.sequence)
	w.Local.Store(x.sent)
	w.Key.Store(k)
	if err := x.send(ctx, msg, body); err != nil {
		return err
	}
	x.sent++
	done.Store(k)
	x.r.stats.sent.Add(1)
	return msg.Ack()
}

// send sends to the mirror. While it is full the server is told that the message is being worked
// on, so that it waits: the stream fills, then the queue at the origin.
func (x *storer) send(ctx context.Context, msg jetstream.Msg, body []byte) error {
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
		if err := msg.InProgress(); err != nil {
			return err
		}
	}
}

// bury moves a message that cannot be read to the dead letters.
func (x *storer) bury(ctx context.Context, msg jetstream.Msg, cause error) error {
	m := &nats.Msg{
		Subject: x.b.o.Prefix + ".dead." + x.r.name, Data: msg.Data(),
		Header: nats.Header{"Shmem-Cause": {cause.Error()}},
	}
	if _, err := x.b.js.PublishMsg(ctx, m); err != nil {
		return err
	}
	x.r.stats.poison.Add(1)
	x.b.o.Logger.Warn("dead letter", "route", x.r.String(), "error", cause)
	return msg.Term()
}
