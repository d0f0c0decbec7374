package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// through is when the newest value, entry of the map, message of the topic and of the queue that
// came through was sent, and the newest message of bare nats.go that the server accepted; Unix
// nanoseconds.
type through struct{ box, entries, topic, queue, bare atomic.Int64 }

func (t *through) each() map[string]*atomic.Int64 {
	return map[string]*atomic.Int64{"box": &t.box, "map": &t.entries, "topic": &t.topic,
		"queue": &t.queue, "bare nats.go": &t.bare}
}

// later makes at the time of a if it is later.
func later(a *atomic.Int64, at int64) { a.Store(max(a.Load(), at)) }

// times are how long it took after a harm until something was through that was sent after it.
type times struct {
	mu  sync.Mutex
	all map[string]map[string][]time.Duration // harm, kind; guarded by mu
}

func (t *times) add(harm, kind string, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[string]map[string][]time.Duration{}
	}
	if t.all[harm] == nil {
		t.all[harm] = map[string][]time.Duration{}
	}
	t.all[harm][kind] = append(t.all[harm][kind], d)
}

func (t *times) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, harm := range []string{afterCut, afterHold, afterServer} {
		for _, kind := range []string{"bare nats.go", "box", "map", "topic", "queue"} {
			if d := slices.Sorted(slices.Values(t.all[harm][kind])); len(d) > 0 {
				at := func(p int) time.Duration {
					return d[(len(d)-1)*p/100].Round(time.Millisecond)
				}
				fmt.Fprintf(&b, "\n%s, %s: right again after %v, 90%% after %v, all after %v (%d)",
					harm, kind, at(50), at(90), at(100), len(d))
			}
		}
	}
	return b.String()
}

// Harms after which the time is taken.
const (
	afterCut    = "return of a link that was cut"
	afterHold   = "return of a link that hung"
	afterServer = "kill of a server"
)

// recovered waits until something of each kind is through that was sent after a moment, and takes
// the times. If the flow was not whole before, another harm would count too: no time is taken.
func (w *world) recovered(ctx context.Context, harm string, whole bool, since time.Time) error {
	left := w.through.each()
	for len(left) > 0 {
		for kind, at := range left {
			if at.Load() < since.UnixNano() {
				continue
			}
			if whole {
				w.times.add(harm, kind, time.Since(since))
			}
			delete(left, kind)
		}
		if time.Since(since) > 2*time.Minute {
			return fmt.Errorf("%s: nothing comes through for 2 minutes: %v", harm, left)
		}
		if ctx.Err() != nil {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// whole reports whether all kinds have come through just now.
func (w *world) whole() bool {
	for _, at := range w.through.each() {
		if time.Since(time.Unix(0, at.Load())) > 200*time.Millisecond {
			return false
		}
	}
	return true
}

// bare publishes by itself, through the same proxies: how long the connection and the server take.
func (w *world) bare(ctx context.Context) error {
	nc, err := connect(w.servers.url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	made := false
	for ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
		if !nc.IsConnected() {
			continue
		}
		// A publish that was cut waits out its time, so it has little.
		c, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		if !made {
			_, err := js.CreateStream(c, jetstream.StreamConfig{Name: "bare",
				Subjects: []string{"bare"}, Replicas: w.p.replicas, MaxMsgs: 1000})
			made = err == nil
		}
		begun := time.Now().UnixNano()
		if _, err := js.Publish(c, "bare", nil, jetstream.WithRetryAttempts(0)); err == nil {
			later(&w.through.bare, begun)
		}
		cancel()
	}
	return nil
}
