package wait

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

// watches are the peers whose end the kernel reports, by a process descriptor each. They only make
// a waiter see a death sooner: a wrong pid in shared memory has no other effect.
type watches struct {
	mu     sync.Mutex
	files  map[format.ID]*os.File // nil: the process cannot be watched; guarded by mu
	closed bool                   // guarded by mu
}

// maxWatches bounds the descriptors of one mapping: it can have as many peers.
const maxWatches = format.MaxSlots

var pidNS = sync.OnceValue(sys.PIDNamespace)

// watch begins to watch an attachment's process, where that is possible.
func (l *parkingLot) watch(id format.ID) {
	ws := &l.watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if _, ok := ws.files[id]; ok || ws.closed {
		return
	}
	if len(ws.files) >= maxWatches {
		ws.dropOne()
	}
	if ws.files == nil {
		ws.files = map[format.ID]*os.File{}
	}
	ws.files[id] = nil
	pid := pidOf(l.m.Peers, id)
	if pid == 0 {
		return
	}
	f, err := sys.OpenProcess(pid)
	if err != nil {
		if !l.m.Peers.Alive(id) { // the process ended since the caller checked
			l.found(id)
		}
		return
	}
	// Before it was opened the pid may have passed to another process, but not while the slot was
	// held.
	if !l.m.Peers.Alive(id) {
		_ = f.Close()
		l.found(id)
		return
	}
	ws.files[id] = f
	go l.waitForEnd(id, f)
}

// found reports a death that watch has found. The attachment is not kept as one that cannot be
// watched: if Look takes it for alive, because another attachment takes its slot just then, the
// next wait finds its death again. ws.mu is held.
func (l *parkingLot) found(id format.ID) {
	delete(l.watches.files, id)
	l.reportDeath(id)
}

// dropOne stops watching any one process, which only makes its death seen later. ws.mu is held.
func (ws *watches) dropOne() {
	for id, f := range ws.files {
		delete(ws.files, id)
		if f != nil {
			_ = f.Close()
		}
		return
	}
}

// pidOf returns the pid of another attachment in this process's PID namespace, 0 if there is none.
func pidOf(p *mem.Peers, id format.ID) int {
	slot := int(id.Slot())
	if id == p.Self || slot >= p.Len() {
		return 0
	}
	s := p.Slot(slot)
	pid := int(int32(s.PID.Load()))
	if pid <= 0 || pid == os.Getpid() || pidNS() == 0 || s.PIDNS.Load() != pidNS() {
		return 0
	}
	return pid
}

// waitForEnd waits until the process of f ends or f is closed.
func (l *parkingLot) waitForEnd(id format.ID, f *os.File) {
	if sys.WaitProcess(f) == nil {
		l.reportDeath(id)
	}
	ws := &l.watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.files[id] == f {
		delete(ws.files, id)
		_ = f.Close()
	}
}

// reportDeath makes the waiters that watch id call Probe.
func (l *parkingLot) reportDeath(id format.ID) {
	if !l.m.PinNested() {
		return
	}
	_ = l.m.Guard(func() { // in a goroutine of its own, see wakeLeader
		if l.retireBaton(id) {
			RingAll(l.m)
		}
		for i := range l.buckets {
			l.buckets[i].reportDeath(id)
		}
		l.ringLocal(0)
	})
	l.m.Unpin()
}

func (b *bucket) reportDeath(id format.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := b.first; w != nil; w = w.next {
		if !slices.Contains(w.watch, id) && !w.ownedBy(id) {
			continue
		}
		for _, w := range []*waiter{w, b.probers[w.probe.subject]} {
			if w != nil {
				w.probeNow.Store(true)
				w.ring()
			}
		}
	}
}

// retireBaton marks the slot of a dead attachment, so that it gets no baton any more. It reports
// whether this is the first process to do so, which then rings all waiters: the dead process may
// have had a baton, or a waiter that was chosen.
//
// An attachment that has taken the slot meanwhile rings all waiters itself. If it takes the slot
// just now, its leader drops the mark, and what it had becomes a ring for all.
func (l *parkingLot) retireBaton(id format.ID) bool {
	p, slot := l.m.Peers, int(id.Slot())
	if slot >= p.Len() || p.Slot(slot).Gen.Load()&format.GenMask != id.Gen() {
		return false
	}
	return baton(p.Slot(slot).Baton.Swap(uint64(retired))) != retired
}

// watchReceiver watches the attachment that got a baton, if there are descriptors to spare.
func (l *parkingLot) watchReceiver(id format.ID) {
	if l.watches.knows(id) || l.watches.room() {
		l.watch(id)
	}
}

// knows reports whether an attachment is watched, or cannot be watched.
func (ws *watches) knows(id format.ID) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	_, ok := ws.files[id]
	return ok
}

// ownedBy reports whether the waiter's owner is that attachment now.
func (w *waiter) ownedBy(id format.ID) bool {
	return w.owner != nil && format.ID(w.owner.Load()&^format.WaitersBit) == id
}

// WatchWaiters begins to watch an attachment, and those that wait at an object, as far as there are
// descriptors to spare: one of them may be the next holder of a lock while the caller sleeps.
func WatchWaiters(m *mem.Mapping, armed *atomic.Uint32, id format.ID) {
	if m == nil {
		return
	}
	l, p := lotOf(m), m.Peers
	l.watch(id)
	bit := uint64(1) << l.bucketOf(armed)
	for i := range p.SlotBound() {
		s := p.Slot(i)
		if s.Interest.Load()&bit != 0 && l.watches.room() {
			l.watch(format.MakeID(s.Gen.Load()&format.GenMask, uint32(i)))
		}
	}
}

// room reports whether a further attachment can be watched in place of none.
func (ws *watches) room() bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.files) < maxWatches
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
