package wait

import (
	"context"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
)

// A turn lets the goroutines of this process that want the same object come one by one: only the
// one whose turn it is contends with other processes. They come in the order in which they asked.
type turn struct {
	b     *bucket
	armed *atomic.Uint32
	token chan struct{}
	users int // under b.mu
}

// Turn waits for the caller's turn at an object; Done ends it. m is pinned, or nil for ordinary
// memory; its attachment has a slot.
func Turn(ctx context.Context, m *mem.Mapping, armed *atomic.Uint32) (*turn, error) {
	if m != nil && (m.Peers == nil || m.Peers.Self == format.Nobody) {
		return nil, mem.ErrReadOnly
	}
	l := lotOf(m)
	b := &l.buckets[l.bucketOf(armed)]
	b.mu.Lock()
	t := b.turns[armed]
	if t == nil {
		if b.turns == nil {
			b.turns = map[*atomic.Uint32]*turn{}
		}
		t = &turn{b: b, armed: armed, token: make(chan struct{}, 1)}
		t.token <- struct{}{}
		b.turns[armed] = t
	}
	t.users++
	b.mu.Unlock()
	select {
	case <-t.token:
		return t, nil
	default:
	}
	var closing <-chan struct{}
	if m != nil {
		closing = m.Closing()
	}
	var err error
	select {
	case <-t.token:
		return t, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-closing:
		err = ErrClosed
	}
	t.leave()
	return nil, err
}

// Done lets the next one come.
func (t *turn) Done() {
	t.token <- struct{}{}
	t.leave()
}

func (t *turn) leave() {
	t.b.mu.Lock()
	if t.users--; t.users == 0 {
		delete(t.b.turns, t.armed)
	}
	t.b.mu.Unlock()
}
