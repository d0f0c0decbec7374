//go:build linux

package main

import (
	"io/fs"
	"time"

	"github.com/shmembox/shmem"
)

// An attachment is what the worker itself knows of one of its attachments.
type attachment struct {
	seg      *shmem.Segment
	box      bool          // it was turned into a box
	check    func() string // returns what is wrong with the value
	id       uint64        // of the segment; 0: not known
	name     int
	epoch    uint64   // removals of the name that had begun before it was attached
	quiet    bool     // and no removal was going on
	creating bool     // this call made the segment
	fromFile bool     // attached by a descriptor, not by the name
	mayOwn   bool     // it created the segment or called Own
	vanished bool     // that its name is gone was reported
	h        *holding // its record in the audit page
}

// A way is one way to open a name.
type way struct {
	percent int // of the visits that go this way
	open    func(*worker, *attachment, *shmem.Options) error
}

// The percents of each list make 100.
func typedWays() []way {
	return []way{
		{60, (*worker).openTyped},
		{10, (*worker).createTyped},
		{18, (*worker).attachTyped},
		{12, (*worker).attachThenBox},
	}
}

func rawWays() []way {
	return []way{
		{60, (*worker).openRaw},
		{10, (*worker).createRaw},
		{30, (*worker).attachRaw},
	}
}

// chooseWay returns a way to open the name n.
func (w *worker) chooseWay(n int) way {
	ways := typedWays()
	if w.isRaw(n) {
		ways = rawWays()
	}
	if w.reader() {
		return ways[2] // may only attach
	}
	x := w.rng.IntN(100)
	for _, y := range ways {
		if x -= y.percent; x < 0 {
			return y
		}
	}
	return ways[0]
}

// visit opens one name, uses it, and leaves it.
func (w *worker) visit(n int) {
	at := &attachment{name: n, h: &w.r.at[w.depth]}
	at.epoch, at.quiet = w.a.removing(n)
	if !w.open(at) {
		return
	}
	w.settle(at)
	w.stay(at)
}

// lifetime returns the lifetime of the segments of a name. Every worker asks for the same one.
func (w *worker) lifetime(n int) shmem.Lifetime {
	if l := w.cfg.lifetime; l != 0 {
		return shmem.Lifetime(l)
	}
	all := [4]shmem.Lifetime{shmem.Owned, shmem.Shared, shmem.Owned, shmem.Kept}
	return all[(n+int(w.cfg.seed&3))%4]
}

// options returns options that other workers' options agree with, at random otherwise.
func (w *worker) options(n int) *shmem.Options {
	o := &shmem.Options{
		Dir: w.dir, Lifetime: w.lifetime(n),
		Timeout: time.Duration(w.cfg.timeout), Reserve: int(w.cfg.payload),
	}
	if w.cfg.reader > 0 {
		o.Mode = 0o644
		o.AnyUser = true
	}
	if w.cfg.scarce != 0 {
		o.Undo = shmem.UndoNever
	}
	if w.oneIn(4) {
		o.Populate = -1
	}
	o.ReadOnly = w.reader()
	return o
}

// open opens the name of at in one of the ways, and checks what it finds.
func (w *worker) open(at *attachment) bool {
	o := w.options(at.name)
	w.made = 0
	if w.chooseWay(at.name).open(w, at, o) != nil {
		return false
	}
	if wrong := at.check(); wrong != "" {
		w.violate(uninitialised, "%s: %s", w.name(at.name), wrong)
	}
	if at.id >= maxSegments {
		at.id = 0
	}
	at.mayOwn = at.mayOwn || at.creating && o.Lifetime == shmem.Owned
	if at.creating {
		w.a.segments[at.id].published.Store(1)
		w.a.count(created)
		w.checkCreated(at, o.Lifetime)
	} else {
		w.a.count(attached)
	}
	return true
}

func (w *worker) openRaw(at *attachment, o *shmem.Options) error {
	began := time.Now()
	seg, err := shmem.OpenSegment(w.name(at.name), 512, o)
	at.mayOwn = true
	w.expect("OpenSegment", err, began)
	return w.takeRaw(at, seg, err)
}

func (w *worker) createRaw(at *attachment, o *shmem.Options) error {
	w.vary(o)
	began := time.Now()
	seg, err := shmem.CreateSegment(w.name(at.name), 512, o)
	at.creating = true
	w.expect("CreateSegment", err, began, fs.ErrExist)
	return w.takeRaw(at, seg, err)
}

func (w *worker) attachRaw(at *attachment, o *shmem.Options) error {
	o.ReadOnly = o.ReadOnly || w.cfg.polite == 0 && w.oneIn(3)
	began := time.Now()
	seg, err := shmem.AttachSegment(w.name(at.name), o)
	w.expect("AttachSegment", err, began, fs.ErrNotExist)
	return w.takeRaw(at, seg, err)
}

// takeRaw turns most of the untyped segments into boxes. All that have no id yet get one: without
// an id no worker could tell how the segment ended.
func (w *worker) takeRaw(at *attachment, seg *shmem.Segment, err error) error {
	if err != nil {
		return err
	}
	at.seg, at.check = seg, unchecked
	w.readID(at, seg)
	if w.percent(70) || at.id == 0 {
		at.box = w.rawBox(at, seg)
	}
	return nil
}

// rawBox turns an untyped segment into a box and gives it an id if it has none.
func (w *worker) rawBox(at *attachment, seg *shmem.Segment) bool {
	began := time.Now()
	box, err := shmem.BoxOf[rawValue](seg)
	if !w.expect("BoxOf", err, began) {
		return false
	}
	w.a.count(rawBoxes)
	v := box.Value()
	if at.id = v.ID.Load(); at.id == 0 && !seg.ReadOnly() {
		if id := w.a.ids.Add(1); id < maxSegments && v.ID.CompareAndSwap(0, id) {
			w.a.segments[id].name.Store(uint32(at.name))
		}
		at.id = v.ID.Load()
	}
	return true
}

// readID reads the id of an untyped segment without making it a box.
func (w *worker) readID(at *attachment, seg *shmem.Segment) {
	var b [8]byte
	if _, err := seg.ReadAt(b[:], 0); err != nil {
		w.violate(unexpected, "ReadAt: %v", err)
		return
	}
	for i := range b {
		at.id |= uint64(b[i]) << (8 * i)
	}
}

func (w *worker) openTyped(at *attachment, o *shmem.Options) error {
	began := time.Now()
	box, err := shmem.Open[value](w.name(at.name), o)
	w.expect("Open", err, began, errInit)
	if err != nil {
		return err
	}
	at.take(box)
	at.creating = w.made != 0 && at.id == w.made
	return nil
}

// vary makes slots scarce, so that they are soon taken again, and leaves the undo image out. Only
// Create does: any other call would ask for the same where the segment exists.
func (w *worker) vary(o *shmem.Options) {
	if w.percent(70) {
		o.Slots = 2 + w.rng.IntN(3)
	}
	if w.oneIn(2) {
		o.Undo = shmem.UndoNever
	}
}

func (w *worker) createTyped(at *attachment, o *shmem.Options) error {
	w.vary(o)
	began := time.Now()
	box, err := shmem.Create[value](w.name(at.name), o)
	w.expect("Create", err, began, fs.ErrExist, errInit)
	if err != nil {
		return err
	}
	at.take(box)
	if at.creating = at.id == w.made; !at.creating {
		w.violate(twoCreators, "%s: Create attached to segment %d", w.name(at.name), at.id)
	}
	return nil
}

func (w *worker) attachTyped(at *attachment, o *shmem.Options) error {
	o.ReadOnly = o.ReadOnly || w.cfg.polite == 0 && w.oneIn(3)
	began := time.Now()
	box, err := shmem.Attach[value](w.name(at.name), o)
	w.expect("Attach", err, began, fs.ErrNotExist)
	if err == nil {
		at.take(box)
	}
	return err
}

// attachThenBox attaches to a typed segment without its type, and turns it into a box then.
func (w *worker) attachThenBox(at *attachment, o *shmem.Options) error {
	o.ReadOnly = w.cfg.polite == 0 && w.oneIn(3)
	began := time.Now()
	seg, err := shmem.AttachSegment(w.name(at.name), o)
	w.expect("AttachSegment", err, began, fs.ErrNotExist)
	if err != nil {
		return err
	}
	at.seg, at.check = seg, unchecked
	began = time.Now()
	box, err := shmem.BoxOf[value](seg)
	if w.expect("BoxOf", err, began) {
		w.a.count(rawBoxes)
		at.take(box)
	}
	return nil // without a box the segment is attached all the same
}

// take makes at the attachment of a typed box.
func (at *attachment) take(box *shmem.Box[value]) {
	v := box.Value()
	at.seg, at.box, at.check, at.id = box.Segment(), true, v.wrong, v.ID.Load()
}

// checkCreated checks that the segment that had the name before has lost it.
func (w *worker) checkCreated(at *attachment, l shmem.Lifetime) {
	if at.id == 0 {
		return
	}
	s := &w.a.segments[at.id]
	s.name.Store(uint32(at.name))
	if at.quiet {
		w.others(func(r *record, h *holding) { w.checkOther(at, r, h) })
	}
	if k := w.a.kept[at.name].Load(); k != 0 && k != at.id {
		if w.keptStill(k, at.name) && at.quiet && w.stillNamed(at) {
			w.violate(lostKept, "%s: segment %d was created while %d was kept", w.name(at.name),
				at.id, k)
		}
	}
	owns, quiet := w.a.owning(at.id)
	if l == shmem.Owned && quiet && owns == 0 && !at.seg.Owned() && s.owns.Load() == 0 {
		w.violate(notOwner, "segment %d: its creator does not own it", at.id)
	}
	if l == shmem.Kept && at.quiet {
		w.keep(at, 0)
	}
}

// checkOther reports another worker's attachment to another segment of the name that at created.
// The attachment is read once more after its segment was looked up: it counts only if it did not
// change.
func (w *worker) checkOther(at *attachment, r *record, h *holding) {
	id := h.id.Load()
	if id == 0 || id == at.id || h.name.Load() != uint64(at.name) || h.quiet.Load() == 0 {
		return
	}
	epoch := h.epoch.Load()
	if h.id.Load() != id || r.doomed.Load() != 0 || w.a.segments[id].ended.Load() != 0 ||
		w.a.removals[at.name].Load() != epoch {
		return
	}
	if !w.stillNamed(at) {
		return // another worker may have ended the new segment already
	}
	w.violate(twoCreators, "%s: segment %d was created while %d was attached",
		w.name(at.name), at.id, id)
}

// stillNamed reports whether no worker has begun to remove or to end the segment of at.
func (w *worker) stillNamed(at *attachment) bool {
	return w.a.segments[at.id].ended.Load() == 0 && w.a.removals[at.name].Load() == at.epoch
}

// keep records that only Own or Remove may end the segment from now on.
func (w *worker) keep(at *attachment, owns uint64) {
	s := &w.a.segments[at.id]
	if uint64(s.owns.Load()) != owns {
		return
	}
	s.keptEpoch.Store(uint32(at.epoch))
	s.kept.Store(uint32(owns) + 1)
	w.a.kept[at.name].Store(at.id)
}

// keptStill reports whether a segment is kept and its name was not removed since. One that was
// created kept is kept again when its owner has died.
func (w *worker) keptStill(id uint64, name int) bool {
	s := &w.a.segments[id]
	epoch := s.keptEpoch.Load()
	kept := w.lifetime(name) == shmem.Kept || s.kept.Load() == s.owns.Load()+1
	return kept && uint64(epoch) == w.a.removals[name].Load() &&
		s.ended.Load() == 0
}

// settle tells the other workers of the attachment. The id is written last.
func (w *worker) settle(at *attachment) {
	h := at.h
	if at.id == 0 || w.reader() { // a process that may only read the file keeps nothing alive
		return
	}
	h.name.Store(uint64(at.name))
	h.epoch.Store(at.epoch)
	h.quiet.Store(0)
	if at.quiet {
		h.quiet.Store(1)
	}
	h.own.Store(0)
	h.id.Store(at.id)
}
