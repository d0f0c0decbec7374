//go:build linux

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/sys"
)

// A deed is one thing that a worker does with an attachment.
type deed struct {
	percent int // of the turns in which it is done
	can     bool
	do      func()
}

// turn does one of the deeds, or nothing.
func (w *worker) turn(deeds []deed) {
	x := w.rng.IntN(100)
	for _, d := range deeds {
		if x -= d.percent; x < 0 {
			if d.can {
				d.do()
			}
			return
		}
	}
}

// stay uses the attachment for some turns and ends it.
func (w *worker) stay(at *attachment) {
	deeper := w.depth+1 < depths-1
	deeds := []deed{
		{12, !w.reader() && w.cfg.polite == 0, func() { w.own(at) }},
		{8, deeper, w.visitAnother},
		{5, deeper && w.cfg.reader == 0 && w.cfg.polite == 0, func() { w.attachFile(at) }},
		{5, w.cfg.links != 0 && !w.reader(), func() { w.link(at) }},
		{10, true, func() { time.Sleep(time.Duration(w.rng.IntN(300)) * time.Microsecond) }},
	}
	for range w.rng.IntN(5) {
		w.verify(at)
		w.turn(deeds)
		w.point()
	}
	w.verify(at)
	if w.oneIn(150) {
		w.exit()
	}
	w.end(at)
}

// visitAnother visits a name while this attachment is open.
func (w *worker) visitAnother() {
	w.depth++
	w.visit(w.rng.IntN(int(w.cfg.names)))
	w.depth--
}

// verify checks what must be true of every attachment that is open.
func (w *worker) verify(at *attachment) {
	if wrong := at.check(); wrong != "" {
		w.violate(uninitialised, "%s, segment %d later: %s", w.name(at.name), at.id, wrong)
	}
	if at.id == 0 {
		return
	}
	if !at.fromFile && at.quiet && !at.vanished && !w.reader() && !at.seg.Linked() &&
		w.stillNamed(at) {
		at.vanished = true
		w.violate(vanished, "%s, segment %d", w.name(at.name), at.id)
	}
	w.verifyOwner(at)
}

// verifyOwner checks that an owner may be the owner, and that there is no second one.
func (w *worker) verifyOwner(at *attachment) {
	s := &w.a.segments[at.id]
	owns, quiet := w.a.owning(at.id)
	if !quiet || !at.seg.Owned() || uint64(s.owns.Load()) != owns {
		return
	}
	if !at.mayOwn {
		w.violate(notOwner, "segment %d: owner without Own", at.id)
	}
	at.h.owns.Store(owns)
	at.h.own.Store(at.id)
	w.others(func(_ *record, h *holding) {
		if h.ownsNow(s, at.id, owns) {
			w.violate(twoOwners, "segment %d", at.id)
		}
	})
}

// own calls Own and checks that the attachment owns the segment then.
func (w *worker) own(at *attachment) {
	if at.id == 0 {
		return
	}
	s := &w.a.segments[at.id]
	w.r.owning.Store(at.id)
	owns := uint64(s.owns.Add(1))
	at.mayOwn = true
	alone := true // a call that began before this one may end after it
	for i := range w.a.workers {
		if o := &w.a.workers[i]; o != w.r && o.owning.Load() == at.id {
			alone = false
		}
	}
	began := time.Now()
	err := at.seg.Own()
	w.r.owning.Store(0)
	allowed := []error{shmem.ErrDropped}
	if at.seg.ReadOnly() {
		allowed = []error{shmem.ErrReadOnly}
	}
	switch {
	case w.expect("Own", err, began, allowed...):
		w.a.count(owned)
		n, quiet := w.a.owning(at.id)
		if alone && quiet && n == owns && !at.seg.Owned() && uint64(s.owns.Load()) == owns {
			w.violate(notOwner, "segment %d: not owner after Own", at.id)
		}
	case errors.Is(err, shmem.ErrDropped) && s.ended.Load() == 0:
		w.violate(vanished, "segment %d is dropped, and its owner did not close", at.id)
	}
}

// attachFile attaches to the same segment by its descriptor.
func (w *worker) attachFile(at *attachment) {
	f, err := at.seg.File()
	if sys.ReopensByName && errors.Is(err, fs.ErrNotExist) {
		return // the name is gone
	}
	if err != nil {
		w.violate(unexpected, "File: %v", err)
		return
	}
	defer f.Close()
	w.depth++
	defer func() { w.depth-- }()
	o := w.options(at.name)
	o.AnyUser = true // without a name and a seal only this accepts it
	began := time.Now()
	seg, err := shmem.FromFile(f, o)
	if !w.expect("FromFile", err, began, fs.ErrNotExist) {
		if errors.Is(err, fs.ErrNotExist) && !sys.ReopensByName &&
			at.id != 0 && w.a.segments[at.id].ended.Load() == 0 {
			w.violate(vanished, "segment %d is gone, and its owner did not close: %v", at.id, err)
		}
		return
	}
	w.a.count(fromFiles)
	second := &attachment{
		seg: seg, id: at.id, name: at.name, epoch: at.epoch, quiet: at.quiet, fromFile: true,
		h: &w.r.at[w.depth], check: unchecked,
	}
	w.settle(second)
	w.stay(second)
}

// link gives the segment's file a second name in another directory, so that its link count does not
// tell whether the first name still leads to it.
func (w *worker) link(at *attachment) {
	to := filepath.Join(w.spare, strconv.Itoa(w.rng.IntN(8)))
	if os.Link(filepath.Join(w.dir, w.name(at.name)), to) == nil {
		w.a.count(links)
	} else {
		_ = os.Remove(to)
	}
}

// end closes or leaks the attachment.
func (w *worker) end(at *attachment) {
	owner, owns, quiet := w.ownership(at)
	leak := w.cfg.polite == 0 && w.oneIn(8) && !w.reader() || owner && at.id == 0
	at.h.own.Store(0)
	at.h.id.Store(0)
	if leak {
		w.leak(at, owner, owns, quiet)
		return
	}
	if at.id == 0 {
		began := time.Now()
		w.depth++ // Drop may open
		err := at.seg.Close()
		w.depth--
		w.expect("Close", err, began)
		return
	}
	w.close(at, owner, owns, quiet)
}

// ownership reports whether at owns its segment, how many calls of Own had begun by then, and
// whether both are certain.
func (w *worker) ownership(at *attachment) (owner bool, owns uint64, certain bool) {
	if at.id == 0 {
		return at.seg.Owned(), 0, false
	}
	owns, quiet := w.a.owning(at.id)
	if owner = at.seg.Owned(); owner && !at.mayOwn {
		w.violate(notOwner, "segment %d: owner without Own, at the end", at.id)
	}
	return owner, owns, quiet && uint64(w.a.segments[at.id].owns.Load()) == owns
}

// leak calls Leak, after which the segment of an owner is kept.
func (w *worker) leak(at *attachment, owner bool, owns uint64, certain bool) {
	began := time.Now()
	if !w.expect("Leak", at.seg.Leak(), began) || !owner {
		return
	}
	w.a.count(leakedOn)
	if at.id != 0 && certain && at.quiet && !at.fromFile && w.a.segments[at.id].ended.Load() == 0 {
		w.keep(at, owns)
	}
}

// close calls Close. The Close of an owner must drop the value once and remove the name.
func (w *worker) close(at *attachment, owner bool, owns uint64, certain bool) {
	s := &w.a.segments[at.id]
	if owner {
		s.ended.Store(1)
	}
	began := time.Now()
	w.depth++ // Drop may open
	err := at.seg.Close()
	w.depth--
	if !w.expect("Close", err, began) || !owner || !certain || uint64(s.owns.Load()) != owns {
		return
	}
	if at.box && s.drops.Load() != 1 {
		w.violate(dutyUndone, "segment %d: %d drops after the owner's Close", at.id, s.drops.Load())
	}
	if !at.fromFile && at.seg.Linked() {
		w.violate(dutyUndone, "segment %d: the name is there after the owner's Close", at.id)
	}
}
