package queue

import (
	"maps"
	"slices"
	"sync"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/stream"
)

// An attachment is what all forms know of the segment.
type attachment struct {
	stream.Attachment
	sendErrors, recvErrors stream.Errors
	care                   care

	mu      sync.Mutex
	cleanup map[any]func() // what Close does before the mapping goes, by key; guarded by mu
	waiting bool           // a goroutine waits for Close to do it; guarded by mu
}

// init prepares a. size names the options that bound the queue.
func (a *attachment) init(seg *shmem.Segment, m *mem.Mapping, size string) {
	a.Attachment.Init(seg, m)
	a.sendErrors.Init("queue send", seg.Name(), stream.Words{
		Full: "use Send, or create it with more " + size, End: "sender",
	})
	a.recvErrors.Init("queue receive", seg.Name(), stream.Words{
		Empty: "use Recv, or try later", End: "receiver",
	})
}

func (a *attachment) attached() *attachment { return a }

// error returns the error of an operation that is neither sending nor receiving.
func (a *attachment) error(op string, err error) error {
	return &shmem.Error{Op: "queue " + op, Name: a.Segment.Name(), Err: a.sendErrors.Cause(err)}
}

// atClose registers f to run when Close has begun and no new call is admitted, before the mapping
// goes: f waits for the calls of key that are in flight, and gives its end up. So other attachments
// do not take the end for that of a dead process. The caller has pinned the mapping.
func (a *attachment) atClose(key any, f func()) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.M.Closed() {
		return shmem.ErrClosed
	}
	if !a.waiting {
		if !a.M.Pin() { // so Close waits for runCleanup
			return shmem.ErrClosed
		}
		a.waiting, a.cleanup = true, map[any]func(){}
		go a.runCleanup(a.M.Closing())
	}
	a.cleanup[key] = f
	return nil
}

// runCleanup runs what atClose has registered. A fault in its goroutine, where a peer truncated the
// file, would end the process: Guard makes it an error.
func (a *attachment) runCleanup(closing <-chan struct{}) {
	<-closing
	a.mu.Lock()
	all := slices.Collect(maps.Values(a.cleanup))
	a.mu.Unlock()
	for _, f := range all {
		_ = a.M.Guard(f)
	}
	a.M.Unpin()
}

// forget removes what atClose has registered for key.
func (a *attachment) forget(key any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.cleanup, key)
}
