package wait

import (
	"os"
	"slices"
	"sync"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

// watches are the peers whose end the kernel tells of, by a process descriptor each. They only make
// deaths seen sooner: that a pid in shared memory lies costs no more than that.
type watches struct {
	mu     sync.Mutex
	files  map[format.ID]*os.File // nil: cannot be watched
	closed bool
}

// maxWatches bounds the descriptors spent on one mapping.
const maxWatches = 64

var pidNS = sync.OnceValue(sys.PIDNamespace)

// watch begins to watch an attachment's process, if that can be.
func (l *lot) watch(id format.ID) {
	ws := &l.watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if _, ok := ws.files[id]; ok || ws.closed {
		return
	}
	if len(ws.files) >= maxWatches {
		for old, f := range ws.files { // any: it is but an accelerator
			delete(ws.files, old)
			if f != nil {
				_ = f.Close()
			}
			break
		}
	}
	if ws.files == nil {
		ws.files = map[format.ID]*os.File{}
	}
	ws.files[id] = nil
	p, slot := l.m.Peers, int(id.Slot())
	if id == p.Self || slot >= len(p.Slots) {
		return
	}
	s := &p.Slots[slot]
	pid := int(int32(s.PID.Load()))
	if pid <= 0 || pid == os.Getpid() || pidNS() == 0 || s.PIDNS.Load() != pidNS() {
		return
	}
	f, err := sys.OpenProcess(pid)
	if err != nil {
		return
	}
	// The pid may have passed to somebody else before it was opened, but not while the slot was held.
	if !p.Alive(id) {
		_ = f.Close()
		l.died(id)
		return
	}
	ws.files[id] = f
	go func() {
		if sys.WaitProcess(f) == nil {
			l.died(id)
		}
		ws.mu.Lock()
		if ws.files[id] == f {
			delete(ws.files, id)
			_ = f.Close()
		}
		ws.mu.Unlock()
	}()
}

// died lets those look who watch id.
func (l *lot) died(id format.ID) {
	if !l.m.Join() {
		return
	}
	for i := range l.buckets {
		b := &l.buckets[i]
		b.mu.Lock()
		for w := b.first; w != nil; w = w.next {
			if slices.Contains(w.watch, id) {
				for _, w := range []*waiter{w, b.duty[w.look.subject]} {
					if w != nil {
						w.died.Store(true)
						w.ring()
					}
				}
			}
		}
		b.mu.Unlock()
	}
	_ = l.m.Guard(func() { l.ringOwn(0) }) // it runs in a goroutine of its own
	l.m.Unpin()
}

func (ws *watches) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
	for id, f := range ws.files {
		delete(ws.files, id)
		if f != nil {
			_ = f.Close()
		}
	}
}
