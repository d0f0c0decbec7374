package stream

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/wait"
)

// An Attachment is this process's attachment to a queue or topic.
type Attachment struct {
	Segment *shmem.Segment
	M       *mem.Mapping
	Self    uint32 // the id of the attachment, by which it claims slots; 0: it has none
	Writes  bool   // it can claim slots: it has an id and the payload can be written

	rests    atomic.Bool // no repair is due before repairAt
	repairAt *time.Timer // makes rests false; used by the call that has made it true
	at       *segment.Attachment
	nameless atomic.Bool // FindTaken has found that the file has no name any more
	ending   ending
}

// Init fills in what an opened segment says.
func (a *Attachment) Init(seg *shmem.Segment, m *mem.Mapping) {
	a.Segment, a.M, a.at = seg, m, segment.Shmem.Attachment(seg)
	if m.Peers != nil {
		a.Self = uint32(m.Peers.Self)
	}
	a.Writes = a.Self != 0 && m.Writable()
}

// SegmentID returns the random number that the segment got when it was created.
func (a *Attachment) SegmentID() [16]byte {
	if h := a.at.Header(); h != nil {
		return h.ID
	}
	return [16]byte{}
}

// Enter pins the mapping for a call that writes; M.Unpin ends the call. The errors are ErrClosed
// and ErrReadOnly.
func (a *Attachment) Enter() error {
	if !a.M.Pin() {
		return shmem.ErrClosed
	}
	if !a.Writes {
		a.M.Unpin()
		return shmem.ErrReadOnly
	}
	return nil
}

// Object returns what the race detector knows the attachment by.
func (a *Attachment) Object() robust.Object { return robust.Object{M: a.M, Me: format.ID(a.Self)} }

// Alive reports whether the attachment of that id lives. The caller has pinned the mapping.
func (a *Attachment) Alive(id uint32) bool {
	return a.M.Peers != nil && a.M.Peers.Alive(format.ID(id))
}

// AliveOnce returns Alive with a small cache, for one scan of a ring: it asks the kernel about once
// for each id.
func (a *Attachment) AliveOnce() func(id uint32) bool {
	var known [16]struct {
		id    uint32
		alive bool
	}
	return func(id uint32) bool {
		k := &known[id%16]
		if k.id != id || id == 0 {
			k.id, k.alive = id, a.Alive(id)
		}
		return k.alive
	}
}

// RepairDue reports whether a call that does not block should repair: at most every 10 ms. Of
// concurrent callers at most one gets true. It reads no clock: a timer tells when it is due.
func (a *Attachment) RepairDue() bool {
	if a.rests.Load() || !a.rests.CompareAndSwap(false, true) {
		return false
	}
	if a.repairAt == nil {
		a.repairAt = time.AfterFunc(math.MaxInt64, func() { a.rests.Store(false) })
	}
	a.repairAt.Reset(wait.FirstProbe)
	return true
}

// Watch returns a list for wait.Options of those ids that are attachments, other than this one.
func (a *Attachment) Watch(ids ...uint32) (list []format.ID) {
	for _, id := range ids {
		if id != 0 && id != a.Self {
			list = append(list, format.ID(id))
		}
	}
	return list
}

// ringOwn makes the calls of this attachment that wait look again.
func (a *Attachment) ringOwn() {
	if a.Self != 0 {
		wait.RingOwn(a.M)
	}
}
