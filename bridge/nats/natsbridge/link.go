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
	// connected are the sessions, by their contexts; guarded by mu.
	connected map[context.Context]connected
}

// A connected is a session over one connection.
type connected struct {
	stop context.CancelCauseFunc
	// reconnects is how often the client had connected anew: a session over another connection than
	// the present one is to end.
	reconnects uint64
}

// watch follows the connection until the function that it returns is called.
func (l *link) watch(nc *nats.Conn) (end func()) {
	l.mu.Lock()
	l.changed, l.connected = make(chan struct{}), map[context.Context]connected{}
	l.mu.Unlock()
	status := nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case _, ok := <-status:
				if !ok {
					return
				}
				l.change(nc)
			}
		}
	}()
	return func() {
		close(done)
		nc.RemoveStatusListener(status)
	}
}

// change ends the sessions over connections that are no more. It looks at the connection as it is:
// news of a cut can come after a session over the next connection has begun.
func (l *link) change(nc *nats.Conn) {
	there, reconnects := nc.IsConnected(), nc.Stats().Reconnects // may wait for a dial
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	for ctx, s := range l.connected {
		if !there || s.reconnects != reconnects {
			s.stop(errCut)
			delete(l.connected, ctx)
		}
	}
}

// session waits for a connection, and returns a context that ends with it.
func (l *link) session(
	ctx context.Context, nc *nats.Conn,
) (context.Context, func(), error) {
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		if nc.IsConnected() {
			ctx, stop := context.WithCancelCause(ctx)
			l.begin(ctx, connected{stop, nc.Stats().Reconnects})
			return ctx, func() {
				l.end(ctx)
				stop(nil)
			}, nil
		}
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

func (l *link) begin(ctx context.Context, s connected) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connected[ctx] = s
}

func (l *link) end(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.connected, ctx)
}
