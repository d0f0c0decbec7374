package wait

import (
	"context"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/mem"
)

// A turnstile admits the goroutines of this process that want the same object one at a time, in the
// order of their calls. So at most one of them contends with other processes.
type turnstile struct {
	b     *bucket
	key   turnKey
	token chan struct{} // holds one token while no goroutine has its turn
	users int           // goroutines that wait or have their turn; guarded by b.mu
}

// A turnKey names a turnstile: an object, and a class of those that want it.
type turnKey struct {
	armed *atomic.Uint32
	class uint32
}

// Turn waits for the caller's turn at an object, which lasts until Done. It returns [ErrClosed]
// when the mapping begins to close, and the context's error when ctx is done. m is pinned and has a
// slot, or is nil for ordinary memory.
func Turn(ctx context.Context, m *mem.Mapping, armed *atomic.Uint32) (*turnstile, error) {
	return TurnOf(ctx, m, armed, 0)
}

// TurnOf is Turn among the goroutines of one class. Those of different classes have turns at the
// same time.
func TurnOf(
	ctx context.Context, m *mem.Mapping, armed *atomic.Uint32, class uint32,
) (*turnstile, error) {
	if m != nil && !hasSlot(m) {
		return nil, errs.ReadOnly
	}
	l := lotOf(m)
	t := l.buckets[l.bucketOf(armed)].turnstile(turnKey{armed, class})
	select {
	case <-t.token:
		return t, nil
	default:
	}
	if ctx == nil {
		t.leave()
		return nil, errs.NoContext
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

// turnstile returns the turnstile of an object, which it makes if there is none, and counts one
// more user.
func (b *bucket) turnstile(k turnKey) *turnstile {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.turnstiles[k]
	if t == nil {
		if b.turnstiles == nil {
			b.turnstiles = map[turnKey]*turnstile{}
		}
		t = &turnstile{b: b, key: k, token: make(chan struct{}, 1)}
		t.token <- struct{}{}
		b.turnstiles[k] = t
	}
	t.users++
	return t
}

// Done ends the caller's turn.
func (t *turnstile) Done() {
	t.token <- struct{}{}
	t.leave()
}

// leave counts one user less. The last one removes the turnstile.
func (t *turnstile) leave() {
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(t.b.turnstiles, t.key)
	}
}
