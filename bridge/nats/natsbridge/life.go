package natsbridge

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/inspect"
)

// A life is the beginning of each state beside a mirror: when the bridge here, and the one that
// sends, were last known to live. Unix nanoseconds by the clock of this machine; 0: never.
type life struct{ Bridge, Origin atomic.Int64 }

const lifeLen = 16

// living is where a route writes a life, while it has a mirror.
type living struct {
	mu sync.Mutex
	to *life // nil: no mirror; guarded by mu
}

func (l *living) set(to *life) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = to
}

func (l *living) write(origin int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.to != nil {
		l.to.Bridge.Store(time.Now().UnixNano())
		l.to.Origin.Store(origin)
	}
}

// live writes the life of a route that comes in, until ctx is done. It does not while the route's
// loop does not run.
func (b *Bridge) live(ctx context.Context, r *route) {
	t := time.NewTicker(beatEvery / 2)
	defer t.Stop()
	for {
		if turn := r.stats.turn.Load(); time.Since(time.Unix(0, turn)) < hung {
			r.living.write(r.stats.origin.Load())
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// A Life says when the two bridges of a mirror were last known to live. The zero time: never.
type Life struct {
	Bridge time.Time // the one of this machine; it says so every second
	Origin time.Time // the one that sends; it says so every 2 seconds
}

// Stale returns since when what the mirror has may be old, if one of the bridges says nothing for
// more than 6 seconds: it was stopped, has died, or is cut from the server.
func (l Life) Stale(now time.Time) (since time.Time, stale bool) {
	since = l.Bridge
	if l.Origin.Before(since) {
		since = l.Origin
	}
	return since, now.Sub(since) > staleAfter
}

// LifeOf returns the life of a mirror in a directory; the empty one is the default. It reads what
// the bridge of this machine has written beside the mirror, and may be called while there is none.
func LifeOf(dir, name string) (Life, error) {
	o, err := inspect.Open(dir, name+stateSuffix)
	if err != nil {
		return Life{}, err
	}
	defer o.Close()
	var b [lifeLen]byte
	if _, err := o.ReadAt(b[:], 0); err != nil {
		return Life{}, err
	}
	at := func(i int) time.Time { return moment(int64(binary.NativeEndian.Uint64(b[8*i:]))) }
	return Life{Bridge: at(0), Origin: at(1)}, nil
}
