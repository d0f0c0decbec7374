package segment

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
)

// The word events counts what changes in the life of a segment. A process that attaches, detaches,
// owns, leaks or takes the name changes its words first, then counts, then wakes the waiters for
// the next one. What has happened is read from the words themselves: a sequence of events compares
// them with what it has seen before. So a process that dies before it counts costs promptness only.
// A death is not counted: the kernel tells of it.

// An EventKind is the twin of shmem.EventKind, with the same numbers.
type EventKind int

// Kinds of events.
const (
	Attached EventKind = iota + 1
	Left
	Died
	OwnerChanged
	NameTaken
)

// An Event is the twin of shmem.Event.
type Event struct {
	Kind EventKind
	Peer Peer
}

// count counts a change of this attachment and wakes the waiters for events. The mapping is not
// retired yet.
func (a *Attachment) count() {
	if a.id == format.NoID {
		return
	}
	// The file may be truncated.
	_ = a.m.Guard(func() {
		w := a.m.Peers.Words
		w.Events.Add(1)
		wait.Wake(a.m, &w.EventsArmed)
	})
}

// A Sequence finds the events of a segment. It is for one goroutine at a time.
type Sequence struct {
	a       *Attachment
	monitor *monitor
	slots   []seen // by slot
	owner   format.Owner
	taken   bool    // NameTaken was found
	looked  bool    // there was a look
	counted uint64  // the word events before the last look
	found   []Event // and not returned yet
	subject atomic.Uint32
}

// seen is what a sequence has seen of a slot: of the attachment that has the generation gen.
type seen struct {
	gen      uint32
	attached bool
	ended    bool // it was attached once
	peer     Peer
}

// Events begins a sequence of events. It begins with an Attached for each attachment.
func (a *Attachment) Events() (*Sequence, error) {
	switch {
	case a.Foreign():
		return nil, errs.Foreign
	case a.id == format.NoID:
		return nil, errs.ReadOnly
	}
	return &Sequence{a: a, monitor: a.monitored()}, nil
}

// Next returns the next event, and waits until there is one. The errors are errs.Closed, that of
// ctx, and errs.Fault.
func (s *Sequence) Next(ctx context.Context) (Event, error) {
	for len(s.found) == 0 {
		if err := errs.Context(ctx); err != nil {
			return Event{}, err
		}
		if err := s.look(); err != nil {
			return Event{}, err
		}
		if len(s.found) > 0 {
			break
		}
		if err := s.wait(ctx); err != nil {
			return Event{}, err
		}
	}
	e := s.found[0]
	s.found = s.found[1:]
	return e, nil
}

// look adds to found what has changed since the last look.
func (s *Sequence) look() error {
	if !s.a.m.Pin() {
		return errs.Closed
	}
	defer s.a.m.Unpin()
	if f := s.a.m.Guard(s.compare); f != nil {
		return s.a.Fault(f)
	}
	return nil
}

// compare compares the words of the segment with what was seen. Of several changes it finds those
// of the name and of the owner first, then attachments that have gone, then those that have come. A
// new owner that has come too is found after that.
func (s *Sequence) compare() {
	p := s.a.m.Peers
	s.counted = p.Words.Events.Load() // first: what changes later is counted later
	owner, before := format.OwnerOf(p.Words.Owner.Load()), s.owner
	s.owner = owner
	if n := p.SlotBound(); n > len(s.slots) {
		s.slots = append(s.slots, make([]seen, n-len(s.slots))...)
	}
	var gone, come []Event
	for i := range s.slots {
		for _, e := range s.compareSlot(i, before) {
			if e.Kind == Attached || len(come) > 0 && contains(come, e.Peer.ID) {
				come = append(come, e) // it may have come and gone
			} else {
				gone = append(gone, e)
			}
		}
	}
	s.looked = true
	if s.nameTaken() {
		s.taken = true
		s.found = append(s.found, Event{Kind: NameTaken})
	}
	changed, owns := s.ownerChange(before)
	if changed && !contains(come, owns.Peer.ID) {
		s.found = append(s.found, owns)
		changed = false
	}
	s.found = append(append(s.found, gone...), come...)
	if changed {
		s.found = append(s.found, owns)
	}
}

func contains(events []Event, id uint32) bool {
	for _, e := range events {
		if id != 0 && e.Peer.ID == id {
			return true
		}
	}
	return false
}

// ownerChange returns the event of a change by Own or Leak, and marks the owner among those that
// were seen.
func (s *Sequence) ownerChange(before format.Owner) (changed bool, e Event) {
	e.Kind = OwnerChanged
	if before == s.owner {
		return false, e
	}
	for i := range s.slots {
		peer := &s.slots[i].peer
		if peer.Owner = s.owner.State == format.Owned && peer.ID == uint32(s.owner.ID); peer.Owner {
			e.Peer = *peer
		}
	}
	switch {
	case before == format.Owner{}: // the first look
		return false, e
	case s.owner.State == format.Owned:
		e.Peer.ID, e.Peer.Owner = uint32(s.owner.ID), true
		return true, e
	}
	return before.State == format.Owned && s.owner.State != format.Dropped ||
		s.owner.State == format.Kept, e
}

// A record is what a slot says.
type record struct {
	gen, pid, flags uint32
	ns              uint64
	started         int64
}

// recordOf reads a slot, which an attachment may take meanwhile: two reads in a row are the same.
func recordOf(slot *mem.Slot) (r record) {
	for range 100 {
		now := record{gen: slot.Gen.Load() & format.GenMask, pid: slot.PID.Load(),
			flags: slot.Flags.Load(), ns: slot.PIDNS.Load(), started: slot.Started.Load()}
		if now == r {
			break
		}
		r = now
	}
	return r
}

func (r record) peer(slot int, owner format.Owner) Peer {
	id := format.MakeID(r.gen, uint32(slot))
	return Peer{
		Slot: slot, ID: uint32(id), PID: int(r.pid), PIDNamespace: r.ns,
		Since: time.Unix(0, r.started), ReadOnly: r.flags&format.SlotReadOnly != 0,
		Passive: r.flags&format.SlotPassive != 0,
		Owner:   owner.State == format.Owned && owner.ID == id,
	}
}

// compareSlot compares a slot with what was seen of it. before is the owner that was seen.
func (s *Sequence) compareSlot(i int, before format.Owner) (found []Event) {
	was := &s.slots[i]
	now := recordOf(s.a.m.Peers.Slot(i))
	gone := func(kind EventKind) Event {
		was.attached, was.ended = false, true
		was.peer.Owner = was.peer.Owner || before.State == format.Owned &&
			uint32(before.ID) == was.peer.ID
		return Event{kind, was.peer}
	}
	if now.gen != was.gen {
		switch {
		case !was.attached:
		case now.gen == format.NextGen(was.gen) && now.flags&format.SlotUnclean != 0:
			found = append(found, gone(Died))
		default:
			found = append(found, gone(Left))
		}
		*was = seen{gen: now.gen}
	}
	locked := now.gen != 0 && !was.ended && s.locked(i)
	if now.gen == 0 || was.ended || now.pid == 0 && locked && !was.attached {
		return found // in the last case the record is being written
	}
	if !was.attached {
		was.peer = now.peer(i, s.owner)
		if !locked && !s.looked {
			was.ended = true // before this sequence
			return found
		}
		was.attached = true
		found = append(found, Event{Attached, was.peer})
	}
	switch {
	case now.pid == 0, !locked && s.hasLeft(i, now.gen):
		found = append(found, gone(Left))
	case !locked:
		found = append(found, gone(Died))
	}
	return found
}

// hasLeft reports whether an attachment whose lock is gone has left: it clears its record before it
// frees the lock, so the record that was read before may be older than the lock.
func (s *Sequence) hasLeft(i int, gen uint32) bool {
	now := recordOf(s.a.m.Peers.Slot(i))
	return now.gen == gen && now.pid == 0 ||
		now.gen == format.NextGen(gen) && now.flags&format.SlotUnclean == 0
}

// locked reports whether an attachment has the slot.
func (s *Sequence) locked(i int) bool {
	if s.a.id != format.NoID && i == int(s.a.id.Slot()) {
		return true // one's own lock cannot be seen
	}
	held, err := s.a.file.HeldSlot(i)
	return held || err != nil
}

// wait waits until there may be an event.
func (s *Sequence) wait(ctx context.Context) error {
	w := s.a.m.Peers.Words
	ready := func() bool {
		return w.Events.Load() != s.counted || !s.taken && s.monitor.gone.Load()
	}
	var watch []format.ID
	for i := range s.slots {
		if was := &s.slots[i]; was.attached && was.peer.ID != uint32(s.a.id) {
			watch = append(watch, format.ID(was.peer.ID))
		}
	}
	o := wait.Options{Probe: s.differs, Subject: &s.subject, Watch: watch, NoSpin: true}
	var err error
	if f := s.a.m.Guard(func() {
		err = wait.Until(ctx, s.a.m, &w.EventsArmed, ready, o)
	}); f != nil {
		return s.a.Fault(f)
	}
	return err
}

// differs reports whether compare would find something that was not counted: a death, or a change
// by a process that died before it counted. It changes nothing.
func (s *Sequence) differs() bool {
	p := s.a.m.Peers
	if format.OwnerOf(p.Words.Owner.Load()) != s.owner || p.SlotBound() > len(s.slots) {
		return true
	}
	for i := range s.slots {
		was, slot := &s.slots[i], p.Slot(i)
		pid := slot.PID.Load()
		if slot.Gen.Load()&format.GenMask != was.gen ||
			was.attached && (pid == 0 || !s.locked(i)) ||
			!was.attached && !was.ended && pid != 0 {
			return true
		}
	}
	return s.nameTaken()
}

// nameTaken reports whether NameTaken comes now. A peer can write what it likes into the word gone,
// so it is a reason to look only.
func (s *Sequence) nameTaken() bool {
	return !s.taken &&
		(s.monitor.gone.Load() || s.a.m.Peers.Words.Gone.Load() != 0 && !s.a.Linked())
}

// Peers returns the attachments of the segment, this one included.
func (a *Attachment) Peers() (peers []Peer, err error) {
	if a.Foreign() {
		return nil, errs.Foreign
	}
	s := &Sequence{a: a, monitor: new(monitor)}
	if err := s.look(); err != nil {
		return nil, err
	}
	for i := range s.slots {
		if s.slots[i].attached {
			peers = append(peers, s.slots[i].peer)
		}
	}
	return peers, nil
}

// Lifetime returns when the segment ends, as its owner word says now; 0 for a foreign segment.
func (a *Attachment) Lifetime() format.Lifetime {
	if a.head == nil {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Closed() {
		return a.head.Lifetime
	}
	o, err := a.owner()
	if err != nil || o.State == format.Dropped {
		return a.head.Lifetime
	}
	if o.State == format.Owned {
		if alive, err := a.alive(o.ID); err == nil && alive {
			return format.LifetimeOwned
		}
	}
	return a.lasting(o)
}

// countAt is count, and reaches a step after it.
func (a *Attachment) countAt(p step.Point) {
	a.count()
	step.Reach(p)
}
