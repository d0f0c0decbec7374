package natsbridge

import (
	"sync"
	"sync/atomic"
	"time"
)

// counters are those of a route.
type counters struct {
	sent, acked, conflated, lost, duplicates, redelivered, resets, otherWriter, localWrites,
	poison, inFlight, lag atomic.Int64
	progress atomic.Int64 // Unix nanoseconds of the last message, or of being found idle

	mu    sync.Mutex
	state string // guarded by mu
	err   error  // why it does not run; guarded by mu
}

func (c *counters) set(state string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.err = state, err
}

// moved notes that the route has made progress.
func (c *counters) moved() { c.progress.Store(time.Now().UnixNano()) }

// RouteStats are the counters of a route since Run began. Sent counts messages or values that were
// put, on the way in those that were stored here.
type RouteStats struct {
	Route       string // such as "out box:cfg"
	State       string // "waiting", "running", "cut", "refused", "stopped"
	Err         error  // why it does not run
	Sent        int64
	Acked       int64 // of these, those that the server has accepted
	Conflated   int64 // values that a newer one replaced before they were sent
	Lost        int64 // messages that the ring of a topic lost at the origin
	Duplicates  int64 // messages that were removed because they had come before
	Redelivered int64 // messages that a queue, or the server, delivered again
	Resets      int64 // times that the route began anew
	OtherWriter int64 // times that another bridge wrote the same key or stream
	LocalWrites int64 // changes of a mirror by other processes, which were put right
	Poison      int64 // messages that could not be read, and went to the dead letters
	InFlight    int64 // sent and not accepted yet
	Lag         int64 // messages that wait in the stream
	Progress    time.Time
}

func (r *route) snapshot() RouteStats {
	c := &r.stats
	c.mu.Lock()
	state, err := c.state, c.err
	c.mu.Unlock()
	return RouteStats{
		Route: r.String(), State: state, Err: err, Sent: c.sent.Load(), Acked: c.acked.Load(),
		Conflated: c.conflated.Load(), Lost: c.lost.Load(), Duplicates: c.duplicates.Load(),
		Redelivered: c.redelivered.Load(), Resets: c.resets.Load(),
		OtherWriter: c.otherWriter.Load(), LocalWrites: c.localWrites.Load(),
		Poison: c.poison.Load(), InFlight: c.inFlight.Load(), Lag: c.lag.Load(),
		Progress: time.Unix(0, c.progress.Load()),
	}
}
