package natsbridge

import (
	"sync"
	"sync/atomic"
	"time"
)

// counters are those of a route.
type counters struct {
	sent, acked, conflated, lost, duplicates, redelivered, resets, otherWriter, localWrites,
	poison, inFlight, lag, noRoom, evicted atomic.Int64
	progress atomic.Int64 // Unix nanoseconds of the last message, or of being found idle
	turn     atomic.Int64 // Unix nanoseconds of the last turn of the route's loop
	origin   atomic.Int64 // Unix nanoseconds of the last sign of the bridge that sends; 0: none

	mu    sync.Mutex
	state string // guarded by mu
	err   error  // why it does not run; guarded by mu
}

func (c *counters) set(state string, err error) {
	c.turned()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.err = state, err
}

// moved notes that the route has made progress.
func (c *counters) moved() {
	now := time.Now().UnixNano()
	c.progress.Store(now)
	c.turn.Store(now)
}

// turned notes that the route's loop runs. With something on the way this is no progress.
func (c *counters) turned() {
	now := time.Now().UnixNano()
	c.turn.Store(now)
	if c.inFlight.Load()+c.lag.Load() == 0 {
		c.progress.Store(now)
	}
}

// RouteStats are the counters of a route since Run began. Sent counts messages or values that were
// put, on the way in those that were stored here.
type RouteStats struct {
	Route       string // such as "out box:cfg"
	State       string // "waiting", "running", "cut", "refused", "stopped"
	Err         error  // why it does not run
	Sent        int64
	Acked       int64     // of these, those that the server has accepted
	Conflated   int64     // values that a newer one replaced before they were sent
	Lost        int64     // messages that the ring of a topic lost at the origin
	Duplicates  int64     // messages that were removed because they had come before
	Redelivered int64     // messages that a queue, or the server, delivered again
	Resets      int64     // times that the route began anew
	OtherWriter int64     // times that another bridge wrote the same key or stream
	LocalWrites int64     // changes of a mirror by other processes, which were put right
	Poison      int64     // messages that could not be read, and went to the dead letters
	InFlight    int64     // sent and not accepted yet
	Lag         int64     // messages that wait in the stream
	NoRoom      int64     // entries that the mirror of a map has no room for now
	Evicted     int64     // entries that the mirror of a map has evicted to make room
	Progress    time.Time // of the last message, or when it was found that there is none
	Turn        time.Time // when the route's loop was last seen to run
	// Origin is when the bridge that sends a route last said that it lives, of a route that comes
	// in. It says so every 2 seconds. The zero time: never.
	Origin time.Time
}

// Stale returns since when the bridge that sends the route says nothing, if that is for more than 6
// seconds. The mirror has what there was then.
func (s *RouteStats) Stale(now time.Time) (since time.Time, stale bool) {
	if s.Origin.IsZero() || now.Sub(s.Origin) <= staleAfter {
		return time.Time{}, false
	}
	return s.Origin, true
}

// moment is a time of nanoseconds, 0 the zero time.
func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
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
		NoRoom: c.noRoom.Load(), Evicted: c.evicted.Load(),
		Progress: moment(c.progress.Load()), Turn: moment(c.turn.Load()),
		Origin: moment(c.origin.Load()),
	}
}
