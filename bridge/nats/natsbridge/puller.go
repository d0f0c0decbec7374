package natsbridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	batchMost = 256         // messages that receive hands over at a time
	pullBeat  = time.Second // how often the server says that it has nothing
	pullFor   = 5 * time.Second
	// pullBytes is how many bytes of messages wait here at most, where none is half as large.
	pullBytes = 32 << 20
)

// A pull receives the messages of a consumer. It hands over all that have come at once, which a
// jetstream.MessagesContext does not.
type pull struct {
	nc      *nats.Conn
	ch      chan *nats.Msg
	sub     *nats.Subscription
	subject string // where the server is asked for more
	ask     []byte
	most    int // messages that the server may send before it is asked for more
	owed    int // messages that the server was asked for
	quiet   *time.Timer
	tick    <-chan time.Time // next returns at each; nil: none
}

// An arrival is a message of a stream.
type arrival struct {
	msg *nats.Msg
	md  *nats.MsgMetadata
}

func (a *arrival) ack() error        { return a.msg.Respond([]byte("+ACK")) }
func (a *arrival) inProgress() error { return a.msg.Respond([]byte("+WPI")) }
func (a *arrival) term() error       { return a.msg.Respond([]byte("+TERM")) }

func newPull(nc *nats.Conn, cons jetstream.Consumer, most int) (*pull, error) {
	ask, err := json.Marshal(map[string]any{
		"batch": most, "expires": pullFor, "idle_heartbeat": pullBeat,
		"max_bytes": max(pullBytes, 2*nc.MaxPayload()),
	})
	if err != nil {
		return nil, err
	}
	info := cons.CachedInfo()
	// Two requests at most are open, so the channel is never full.
	p := &pull{nc: nc, ch: make(chan *nats.Msg, 4*most), most: most, ask: ask,
		quiet:   time.NewTimer(2*pullBeat + pullBeat/2),
		subject: "$JS.API.CONSUMER.MSG.NEXT." + info.Stream + "." + info.Name}
	p.sub, err = nc.ChanSubscribe(nc.NewInbox(), p.ch)
	return p, err
}

func (p *pull) close() {
	p.quiet.Stop()
	_ = p.sub.Unsubscribe()
}

// next waits for messages, and appends them to to, batchMost at most. It returns none when the
// server says that there are none, each pullBeat.
func (p *pull) next(ctx context.Context, to []arrival) ([]arrival, error) {
	if p.owed <= p.most/2 {
		if err := p.nc.PublishRequest(p.subject, p.sub.Subject, p.ask); err != nil {
			return to, err
		}
		p.owed += p.most
	}
	select {
	case m := <-p.ch:
		p.quiet.Reset(2*pullBeat + pullBeat/2)
		var err error
		if to, err = p.take(m, to); err != nil {
			return to, err
		}
	case <-p.tick:
		return to, nil
	case <-p.quiet.C:
		return to, errors.New("the server says nothing any more")
	case <-ctx.Done():
		return to, ctx.Err()
	}
	for len(to) < batchMost {
		select {
		case m := <-p.ch:
			var err error
			if to, err = p.take(m, to); err != nil {
				return to, err
			}
		default:
			return to, nil
		}
	}
	return to, nil
}

// take appends a message, or does what the server says beside messages.
func (p *pull) take(m *nats.Msg, to []arrival) ([]arrival, error) {
	if m == nil {
		return to, nats.ErrBadSubscription
	}
	if status := m.Header.Get("Status"); status != "" && m.Reply == "" || status == "100" {
		said := m.Header.Get("Description")
		switch {
		case status == "100": // a heartbeat
			return to, nil
		// A request has ended.
		case status == "408", status == "404",
			status == "409" &&
				(said == "Message Size Exceeds MaxBytes" || said == "Batch Completed"):
			n, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
			if err != nil {
				n = p.owed
			}
			p.owed = max(p.owed-n, 0)
			return to, nil
		}
		return to, fmt.Errorf("the server: %s %s", status, said)
	}
	md, err := m.Metadata()
	if err != nil {
		return to, err
	}
	p.owed--
	return append(to, arrival{m, md}), nil
}
