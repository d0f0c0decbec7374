package natsbridge

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
)

// errCut is why a session ends when the connection does.
var errCut = errors.New("the connection is cut")

// A link gives each session a context that ends with the connection: an acknowledgement that was on
// its way then never comes, and a watch that goes on by itself comes back late.
type link struct {
	mu      sync.Mutex
	changed chan struct{} // closed at the next change; guarded by mu
	// stops end sessions, by their contexts; guarded by mu.
	stops map[context.Context]context.CancelCauseFunc
}

// watch follows the connection until the function that it returns is called.
func (l *link) watch(nc *nats.Conn) (end func()) {
	l.mu.Lock()
	l.changed, l.stops = make(chan struct{}), map[context.Context]context.CancelCauseFunc{}
	l.mu.Unlock()
	status := nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case s, ok := <-status:
				if !ok {
					return
				}
				l.change(s != nats.CONNECTED)
			}
		}
	}()
	return func() {
		close(done)
		nc.RemoveStatusListener(status)
	}
}

func (l *link) change(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	if cut {
		for _, stop := range l.stops {
			stop(errCut)
		}
		clear(l.stops)
	}
}

// session waits for a connection, and returns a context that ends with it.
func (l *link) session(
	ctx context.Context, nc *nats.Conn,
) (context.Context, func(), error) {
	for {
		l.mu.Lock()
		changed := l.changed
		if nc.IsConnected() {
			ctx, stop := context.WithCancelCause(ctx)
			l.stops[ctx] = stop
			l.mu.Unlock()
			return ctx, func() {
				l.mu.Lock()
				delete(l.stops, ctx)
				l.mu.Unlock()
				stop(nil)
			}, nil
		}
		l.mu.Unlock()
		if nc.IsClosed() {
			return nil, nil, nats.ErrConnectionClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}
