package wait

import (
	"os"
	"slices"
	"sync"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

// watches are the peers whose end the kernel reports, by a process descriptor each. They only make
// a waiter see a death sooner: a wrong pid in shared memory has no other effect.
//
// There is at most one for each slot: what attaches again and again does not use up descriptors.
type watches struct {
	mu     sync.Mutex
	slots  map[uint32]watched // guarded by mu
	closed bool               // guarded by mu
}

// A watched is an attachment that is watched, or that cannot be watched.
type watched struct {
	id    format.ID
	file  *sys.Process // nil: the process cannot be watched
	ended bool         // the end is reported, or about to be; the attachment may still seem alive
}

var pidNS = sync.OnceValue(sys.PIDNamespace)

// watchFor watches an attachment whose death w must see, and reports whether the kernel will report
// it. w calls Probe if the end was reported before w waited.
func (l *parkingLot) watchFor(w *waiter, id format.ID) (told bool) {
	how := l.watch(id)
	if how == ended {
		w.probeNow.Store(true)
		w.ring()
	}
	return how == reported
}

// readyOrWatched reports whether the condition of a waiter holds. Else it watches the attachment
// that owner names now. The object is armed.
//
// So the waiter need not watch those that follow: an attachment that frees the lock finds the
// object armed, and watches the one that it wakes. If it dies before, the waiter is told.
func (l *parkingLot) readyOrWatched(w *waiter) bool {
	if w.owner == nil || l.m == nil {
		return w.ready()
	}
	ok, owner := l.buckets[w.k].look(w)
	if owner != format.NoID {
		w.reported = l.watchFor(w, owner)
	}
	return ok
}

func (b *bucket) look(w *waiter) (ok bool, owner format.ID) {
	b.mu.Lock()
	defer b.mu.Unlock() // also when memory faults
	return w.look()
}

// look reports whether the condition holds. Else owner is the attachment that owner names, if it is
// another one than at the last look. The bucket's mu is held.
func (w *waiter) look() (ok bool, owner format.ID) {
	if w.owner == nil {
		return w.ready(), format.NoID
	}
	word := w.owner.Load()
	for range maxLooks {
		if w.ready() {
			return true, format.NoID
		}
		now := w.owner.Load()
		if now == word && ownerOf(now) == w.owned {
			return false, format.NoID
		}
		if now == word { // the condition was false for this word
			w.owned = ownerOf(now)
			return false, w.owned
		}
		word = now
	}
	return false, format.NoID
}

// maxLooks bounds the looks at an owner that changes all the time.
const maxLooks = 100

// watchAll watches attachments for waiters of the bucket k that own them.
func (l *parkingLot) watchAll(k int, ids []format.ID) {
	for _, id := range ids {
		if l.watch(id) == ended {
			l.buckets[k].reportDeath(id)
		}
	}
}

// ownerOf returns the attachment that a lock word names.
func ownerOf(word uint32) format.ID { return format.ID(word &^ format.WaitersBit) }

// A watching is how an attachment is watched.
type watching uint8

const (
	unwatched watching = iota // no process is watched any more at this mapping
	unseen                    // the kernel does not report its end, or the end was found just now
	reported                  // the kernel reports its end
	ended                     // the kernel has reported it
)

// watch begins to watch an attachment's process, where that is possible.
func (l *parkingLot) watch(id format.ID) watching {
	ws := &l.watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return unwatched
	}
	w := ws.slots[id.Slot()]
	if w.id != id {
		l.beginToWatch(id)
		w = ws.slots[id.Slot()]
	}
	switch {
	case w.id == id && w.ended:
		return ended
	case w.id == id && w.file != nil:
		return reported
	}
	return unseen
}

// beginToWatch is watch of an attachment that is not known. ws.mu is held.
func (l *parkingLot) beginToWatch(id format.ID) {
	ws := &l.watches
	if l.passed(id) { // the one that is watched may be the present one
		l.reportDeath(id)
		return
	}
	if former, ok := ws.slots[id.Slot()]; ok { // its end may not have been reported yet
		l.found(former.id)
	}
	if ws.slots == nil {
		ws.slots = map[uint32]watched{}
	}
	ws.slots[id.Slot()] = watched{id: id}
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
	ws.slots[id.Slot()] = watched{id: id, file: f}
	go l.waitForEnd(id, f)
}

// passed reports whether another attachment has taken the slot since.
func (l *parkingLot) passed(id format.ID) bool {
	p, slot := l.m.Peers, int(id.Slot())
	return slot < p.Len() && p.Slot(slot).Gen.Load()&format.GenMask != id.Gen()
}

// found reports a death that watch has found. The attachment is not kept as one that cannot be
// watched: if Look takes it for alive, because another attachment takes its slot just then, the
// next wait finds its death again. ws.mu is held.
func (l *parkingLot) found(id format.ID) {
	l.watches.drop(id.Slot())
	l.reportDeath(id)
}

// drop stops watching the attachment of a slot. ws.mu is held.
func (ws *watches) drop(slot uint32) {
	w := ws.slots[slot]
	delete(ws.slots, slot)
	if w.file != nil {
		_ = w.file.Close()
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
func (l *parkingLot) waitForEnd(id format.ID, f *sys.Process) {
	if f.Wait() == nil {
		l.watches.end(id, f)
		l.reportDeath(id)
	}
}

// end says that the process of f has ended: a waiter that comes now may be too late for the report.
func (ws *watches) end(id format.ID, f *sys.Process) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.slots[id.Slot()].file == f {
		ws.slots[id.Slot()] = watched{id: id, ended: true}
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
		for _, w := range []*waiter{w, b.probers.get(w.probe.subject)} {
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

// ownedBy reports whether the waiter's owner is that attachment, or was when the waiter looked. The
// bucket's mu is held.
func (w *waiter) ownedBy(id format.ID) bool {
	return w.owner != nil && (w.owned == id || ownerOf(w.owner.Load()) == id)
}

func (ws *watches) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
	for slot := range ws.slots {
		ws.drop(slot)
	}
}
