package stream

import (
	"maps"
	"slices"
	"sync"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
)

// An ending is what Close of an attachment does when no new call is admitted, before the mapping
// goes.
type ending struct {
	mu      sync.Mutex
	all     map[any]func() // by key; guarded by mu
	waiting bool           // a goroutine waits for Close to do it; guarded by mu
}

// AtClose registers f to run when Close has begun and no new call is admitted, before the mapping
// goes. f waits for the calls of key that are in flight and have not pinned the mapping, and gives
// up what key has, so that other attachments do not take it for that of a dead process. The caller
// has pinned the mapping.
func (a *Attachment) AtClose(key any, f func()) error { return a.ending.add(a.M, key, f) }

// Forget removes what AtClose has registered for key.
func (a *Attachment) Forget(key any) { a.ending.remove(key) }

func (e *ending) add(m *mem.Mapping, key any, f func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m.Closed() {
		return shmem.ErrClosed
	}
	if !e.waiting {
		if !m.Pin() { // so Close waits for run
			return shmem.ErrClosed
		}
		e.waiting, e.all = true, map[any]func(){}
		go e.run(m, m.Closing())
	}
	e.all[key] = f
	return nil
}

// run calls what is registered when the mapping begins to close. A fault, where a peer truncated
// the file, would end the process: Guard makes it an error.
func (e *ending) run(m *mem.Mapping, closing <-chan struct{}) {
	<-closing
	e.mu.Lock()
	all := slices.Collect(maps.Values(e.all))
	e.mu.Unlock()
	for _, f := range all {
		_ = m.Guard(f)
	}
	m.Unpin()
}

func (e *ending) remove(key any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.all, key)
}
