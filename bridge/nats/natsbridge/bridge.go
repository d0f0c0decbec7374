package natsbridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem/bridge/nats/internal/at"
	"github.com/shmembox/shmem/internal/step"
)

// Options say how a Bridge works. A nil *Options, and the zero value of each field, is the default.
type Options struct {
	// Dir is the directory of the segments. Default: /dev/shm.
	Dir string
	// Prefix begins the names of bucket, streams and subjects. Default: shmem.
	Prefix string
	// Replicas is that of bucket and streams that are created, 1 to 5. Default: 1.
	Replicas int
	// NoSetup leaves it to Setup, with more permissions, to create bucket and streams.
	NoSetup bool
	// Leases is how many messages of a queue are on the way at most. Default: 256.
	Leases int
	// Pack is how many bytes of messages of a topic or queue go into one frame at most; 1 sends
	// each alone. Nothing waits for a frame to fill. Default: 32 KiB.
	Pack int
	// Capacity is that of topics and queues that are created as mirrors. Default: 4096.
	Capacity int
	// Keep is how many messages a stream keeps. Default: 1,048,576.
	Keep int64
	// Logger gets what happens to routes. Default: none.
	Logger *slog.Logger
}

// A Bridge runs routes between the segments of a directory and a NATS server.
type Bridge struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	o      Options
	routes []*route
	link   link

	unknown atomic.Uint64 // the type that was looked for last and was not there
}

// ErrOtherWriter is returned when another bridge has taken a route over: it began later, so the
// route is its.
var ErrOtherWriter = errors.New("another bridge sends this route; " +
	"to take it back, start this one again")

// apiFor is how long a request to the server may take. A cluster that elects a leader answers none,
// and forgets it.
const apiFor = time.Second

// errBegin ends a session of a route, which begins anew.
var errBegin = errors.New("begin anew")

// New returns a bridge over a connection, which stays the caller's. Connect with
// nats.MaxReconnects(-1), or the bridge ends with the connection.
func New(nc *nats.Conn, opts *Options) (*Bridge, error) {
	b := &Bridge{nc: nc}
	if opts != nil {
		b.o = *opts
	}
	o := &b.o
	if o.Prefix == "" {
		o.Prefix = "shmem"
	}
	for p, d := range map[*int]int{&o.Replicas: 1, &o.Leases: 256, &o.Pack: 32 << 10,
		&o.Capacity: 4096} {
		if *p == 0 {
			*p = d
		}
		if *p < 0 {
			return nil, errors.New("natsbridge: an option is negative; use 0 for the default")
		}
	}
	if !plain(o.Prefix) || strings.Contains(o.Prefix, ".") {
		return nil, fmt.Errorf("natsbridge: prefix %q; use letters, digits, - and _", o.Prefix)
	}
	if o.Keep == 0 {
		o.Keep = 1 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	b.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(apiFor))
	return b, err
}

// Out adds routes from segments of this machine. It is called before Run.
func (b *Bridge) Out(routes ...string) error { return b.add(routes, true) }

// In adds routes to mirrors on this machine. It is called before Run.
func (b *Bridge) In(routes ...string) error { return b.add(routes, false) }

func (b *Bridge) add(routes []string, out bool) error {
	for _, s := range routes {
		r, err := parseRoute(s, out)
		if err != nil {
			return fmt.Errorf("natsbridge: %w", err)
		}
		for _, other := range b.routes {
			if other.kind == r.kind && other.name == r.name && other.out == out ||
				other.segment == r.segment {
				return fmt.Errorf("natsbridge: %w: %q and %q are about one segment; "+
					"leave one of them out", ErrRoute, other, r)
			}
		}
		r.stats.set("waiting", nil)
		b.routes = append(b.routes, r)
	}
	return nil
}

// Stats returns the counters of all routes.
func (b *Bridge) Stats() (all []RouteStats) {
	for _, r := range b.routes {
		all = append(all, r.snapshot())
	}
	return all
}

// Run runs all routes until ctx is done, and then lets what queues have in flight end. A route that
// is refused, or that another bridge has taken over, stops or is tried again without effect on the
// others. Each route that sends has a thread that waits in the kernel; see runtime.GOMAXPROCS where
// there are as many as CPUs. Run returns nil when ctx is done, or when all routes were taken over;
// an error if the connection was closed.
func (b *Bridge) Run(ctx context.Context) error {
	defer b.link.watch(b.nc)()
	var wg sync.WaitGroup
	for _, r := range b.routes {
		wg.Go(func() { b.keepUp(ctx, r) })
	}
	wg.Wait()
	if ctx.Err() == nil && b.nc.IsClosed() {
		return fmt.Errorf("natsbridge: %w", cmp.Or(b.nc.LastError(), nats.ErrConnectionClosed))
	}
	return nil
}

// keepUp runs a route, and begins it anew after each failure, with a growing, random pause: many
// bridges that come back at once would overwhelm the server.
func (b *Bridge) keepUp(ctx context.Context, r *route) {
	pause, told := shortest, ""
	for ctx.Err() == nil {
		begun := time.Now()
		err := b.session(ctx, r)
		if ctx.Err() != nil || b.nc.IsClosed() {
			break
		}
		state := "waiting"
		switch {
		case errors.Is(err, ErrOtherWriter):
			r.stats.otherWriter.Add(1)
			r.stats.set("stopped", err)
			b.o.Logger.Error("route stopped", "route", r.String(), "error", err)
			return
		case errors.Is(err, ErrRefused):
			state = "refused"
		case errors.Is(err, errCut):
			state = "cut"
		case errors.Is(err, errBegin):
			err = nil
		}
		r.stats.resets.Add(1)
		r.stats.inFlight.Store(0)
		r.stats.set(state, err)
		if text := fmt.Sprint(err); err != nil && text != told && !errors.Is(err, fs.ErrNotExist) {
			told = text
			b.o.Logger.Warn("route begins anew", "route", r.String(), "error", err)
		}
		if time.Since(begun) > time.Second {
			pause, told = shortest, ""
		}
		sleep(ctx, pause+rand.N(pause))
		pause = nextPause(pause, err)
	}
	r.stats.set("stopped", nil)
}

// Bounds of the pause before a route begins anew. A random part of up to its length is added.
const (
	shortest = 20 * time.Millisecond
	longest  = 250 * time.Millisecond
)

// nextPause returns the pause after that one, which followed an error. Cuts do not make it longer:
// the client connects anew after a pause of its own.
func nextPause(pause time.Duration, err error) time.Duration {
	if errors.Is(err, errCut) {
		return shortest
	}
	return min(2*pause, longest)
}

// session runs a route over one connection. It ends when the connection does.
func (b *Bridge) session(ctx context.Context, r *route) error {
	ctx, stop, err := b.link.session(ctx, b.nc)
	if err != nil {
		return err
	}
	defer stop()
	kv, err := b.prepare(ctx, r)
	if err == nil {
		step.Reach(at.Prepared)
		if !r.out {
			go b.follow(ctx, r, kv)
			go b.live(ctx, r)
		}
		err = b.routeFunc(r)(ctx, r, kv)
	}
	switch {
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case err != nil && !b.nc.IsConnected(): // the news of that comes later
		return fmt.Errorf("%w: %w", errCut, err)
	}
	return err
}

func (b *Bridge) routeFunc(r *route) func(context.Context, *route, jetstream.KeyValue) error {
	switch {
	case r.kind == kindBox && r.out:
		return b.boxOut
	case r.kind == kindBox:
		return b.boxIn
	case r.kind == kindTopic && r.out:
		return b.topicOut
	case r.kind == kindTopic:
		return b.topicIn
	case r.kind == kindMap && r.out:
		return b.mapOut
	case r.kind == kindMap:
		return b.mapIn
	case r.out:
		return b.queueOut
	}
	return b.queueIn
}

// together runs functions at the same time, and returns the first error in their order. A route
// that begins anew asks the server several things: one after the other, each costs a round trip.
func together(ctx context.Context, all ...func(context.Context) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, f := range all {
		wg.Go(func() { errs[i] = f(ctx) })
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// closed reports whether a channel is closed.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
