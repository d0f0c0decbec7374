package natsbridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// look is how long the server may say nothing while something is on its way to it.
const look = 5 * time.Second

// errNoAck is returned when look has passed.
var errNoAck = fmt.Errorf("the server has acknowledged nothing for %v", look)

// A pipe publishes to a stream without waiting for each acknowledgement. nats.go's asynchronous
// publishing takes a timer, two channels and an entry of a map for each message; a pipe takes none.
// One goroutine puts, another one calls done.
type pipe struct {
	nc    *nats.Conn
	m     nats.Msg // the message that is put; reused, with the header
	inbox string   // begins all replies
	sub   *nats.Subscription
	plain []byte // how an acknowledgement begins that says no more than the sequence

	header nats.Header
	done   func(n uint64, duplicate bool)
	fail   context.CancelCauseFunc

	mu   sync.Mutex
	wake sync.Cond // at each change of what follows
	most int       // units on the way
	// free is how many units may be put; guarded by mu.
	free int
	// way is what each one that is put and not accepted has taken; guarded by mu.
	way  map[uint64]int
	next uint64 // number of the next one; guarded by mu
	acks uint64 // guarded by mu
	// ended says that nothing is put any more, failed that nothing is accepted; guarded by mu.
	ended, failed bool
}

// newPipe returns a pipe for a subject of a stream, with so many units on the way at most. done is
// called for each one that is accepted, and fail once if one is refused or none is accepted for
// look. A context that is done ends waiting calls.
func newPipe(
	ctx context.Context, nc *nats.Conn, subject, stream string, most int,
	done func(n uint64, duplicate bool), fail context.CancelCauseFunc,
) (*pipe, func(), error) {
	p := &pipe{
		nc: nc, inbox: nc.NewInbox() + ".", done: done, fail: fail, most: most, free: most,
		way: make(map[uint64]int), plain: fmt.Appendf(nil, `{"stream":%q,"seq":`, stream),
		m: nats.Msg{Subject: subject}, header: nats.Header{},
	}
	p.wake.L = &p.mu
	var err error
	if p.sub, err = nc.Subscribe(p.inbox+"*", p.reply); err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, p.end)
	watched := make(chan struct{})
	go p.watch(watched)
	return p, func() {
		stop()
		close(watched)
		p.end()
		_ = p.sub.Unsubscribe()
	}, nil
}

// end ends waiting calls.
func (p *pipe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.wake.Broadcast()
}

// broken ends the pipe with an error.
func (p *pipe) broken(err error) {
	p.fail(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.failed = true, true
	p.wake.Broadcast()
}

// room waits until a unit may be put, and returns how many may. It returns 0 when the pipe ends.
func (p *pipe) room() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.free <= 0 && !p.ended {
		p.wake.Wait()
	}
	if p.ended {
		return 0
	}
	return p.free
}

// number returns the number of what put puts next.
func (p *pipe) number() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// put publishes data that takes so many units, of those that room has returned. header is keys and
// values by turns; an empty value leaves its key out.
func (p *pipe) put(data []byte, units int, header ...string) error {
	p.mu.Lock()
	n := p.next
	p.next++
	p.way[n] = units
	p.free -= units
	p.mu.Unlock()
	clear(p.header)
	for kv := range slices.Chunk(header, 2) {
		if kv[1] != "" {
			p.header[kv[0]] = kv[1:]
		}
	}
	p.m.Header = p.header
	p.m.Data, p.m.Reply = data, p.inbox+strconv.FormatUint(n, 36)
	return p.nc.PublishMsg(&p.m)
}

// reply takes an acknowledgement.
func (p *pipe) reply(m *nats.Msg) {
	n, err := strconv.ParseUint(m.Subject[len(p.inbox):], 36, 64)
	if err != nil {
		return
	}
	duplicate, err := p.parse(m)
	p.mu.Lock()
	units, ok := p.way[n]
	p.mu.Unlock()
	switch {
	case !ok: // it came twice
		return
	case err != nil:
		p.broken(err)
		return
	}
	p.done(n, duplicate)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.way, n)
	p.free += units
	p.acks++
	p.wake.Broadcast()
}

// parse returns what an acknowledgement says.
func (p *pipe) parse(m *nats.Msg) (duplicate bool, err error) {
	if rest, ok := bytes.CutPrefix(m.Data, p.plain); ok {
		if i := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i > 0 &&
			string(rest[i:]) == "}" {
			return false, nil
		}
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return false, jetstream.ErrNoStreamResponse
	}
	var a struct {
		Error     *jetstream.APIError `json:"error"`
		Stream    string              `json:"stream"`
		Duplicate bool                `json:"duplicate"`
	}
	switch err := json.Unmarshal(m.Data, &a); {
	case err != nil:
		return false, err
	case a.Error != nil:
		return false, a.Error
	case a.Stream == "":
		return false, errors.New("an acknowledgement names no stream")
	}
	return a.Duplicate, nil
}

// watch fails the pipe when nothing is accepted for look.
func (p *pipe) watch(end <-chan struct{}) {
	const beats = 20
	t := time.NewTicker(look / beats)
	defer t.Stop()
	quiet, last := 0, uint64(0)
	for {
		select {
		case <-end:
			return
		case <-t.C:
		}
		p.mu.Lock()
		acks, idle := p.acks, len(p.way) == 0
		p.mu.Unlock()
		if quiet++; idle || acks != last {
			quiet, last = 0, acks
		}
		if quiet >= beats {
			p.broken(errNoAck)
			return
		}
	}
}

// drain waits until all that is on the way is accepted, or the pipe fails: after look at the
// latest.
func (p *pipe) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.way) > 0 && !p.failed {
		p.wake.Wait()
	}
}
