//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

const (
	exitCode = 7 // of a worker that leaves without Close
	filler   = 0x9e3779b97f4a7c15
)

// value is what a typed box holds. Only Init writes it.
type value struct {
	ID    atomic.Uint64
	Token uint64
	Inits atomic.Uint64
	Fill  [256]uint64
	Sum   uint64
}

// rawValue is what an untyped segment holds: whoever sees it first gives it its id.
type rawValue struct {
	ID   atomic.Uint64
	Fill [63]uint64
}

var self *worker

var errInit = errors.New("init fails")

func (v *value) Init() error { return self.initialise(v) }
func (v *value) Drop()       { self.drop(v.ID.Load()) }
func (v *rawValue) Drop()    { self.drop(v.ID.Load()) }

type worker struct {
	a      *shared
	cfg    config
	r      *record
	index  int
	dir    string
	spare  string
	log    string
	rng    *rand.Rand
	token  uint64
	pid1   bool // a signal to itself would not kill it
	chance int
	mortal bool // the one that cleans up at the end is not
	depth  int
	made   uint64 // the segment that Init made last
}

// attachment is one on the worker's side.
type attachment struct {
	seg      *shmem.Segment
	box      bool
	check    func() string // what is wrong with the value
	id       uint64
	name     int
	epoch    uint64
	quiet    bool
	fromFile bool
	mayOwn   bool
	vanished bool
	h        *holding
}

func newWorker(a *shared, index int, base string) *worker {
	w := &worker{
		a: a, cfg: a.cfg, r: &a.workers[index%maxWorkers], index: index,
		dir: filepath.Join(base, "seg"), spare: filepath.Join(base, "spare"), log: filepath.Join(base, "log"),
		pid1: os.Getpid() == 1, mortal: true,
	}
	w.chance = int(w.cfg.chance)
	w.token = rand.Uint64()
	w.rng = rand.New(rand.NewPCG(uint64(w.cfg.seed), uint64(index)<<40^w.token&(1<<40-1)))
	self = w
	return w
}

func runWorker(args []string) {
	if args[0] == forkerArg {
		runForker(args[1])
		return
	}
	index, _ := strconv.Atoi(args[0])
	base := args[1]
	a, err := openAudit(filepath.Join(base, "audit"), false)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
	newWorker(a, index, base).run()
}

func (w *worker) run() {
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETPRIORITY, syscall.PRIO_PROCESS, 0, 0)
	// In a forked process, a lock of Go's runtime that another thread held just then stays held. The
	// scheduler's is the one that matters; what is stuck here has not begun, and the parent takes it away.
	runtime.Gosched()
	time.Sleep(time.Microsecond)
	w.r.born.Store(1)
	// Some die young, some live to do much.
	w.chance = max(2, w.chance*[]int{1, 1, 2, 8}[w.rng.IntN(4)]/4)
	sys.AvoidNameless = w.percent(int(w.cfg.temp))
	step.Hook(func(step.Point) { w.point() })
	defer func() {
		if p := recover(); p != nil {
			w.violate(unexpected, "panic: %v", p)
			panic(p)
		}
	}()
	for w.a.stop.Load() == 0 {
		w.cycle()
		w.r.beat.Add(1)
	}
}

func (w *worker) percent(n int) bool { return w.rng.IntN(100) < n }
func (w *worker) oneIn(n int) bool   { return w.rng.IntN(n) == 0 }

func (w *worker) violate(v violation, format string, args ...any) {
	w.a.violations[v].Add(1)
	text := fmt.Sprintf("worker %d: %s: %s\n", w.index, violationNames[v], fmt.Sprintf(format, args...))
	if f, err := os.OpenFile(w.log, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		_, _ = f.WriteString(text)
		_ = f.Close()
	}
}

// point is every step of the library and some of ours: the worker may die here, or let others go first.
func (w *worker) point() {
	if !w.mortal || w.a.quiet.Load() != 0 {
		return
	}
	if w.oneIn(w.chance) {
		w.die()
	}
	switch n := w.rng.IntN(400); {
	case n < 40:
		runtime.Gosched()
		_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
	case n < 42:
		time.Sleep(time.Duration(w.rng.IntN(300)) * time.Microsecond)
	}
}

func (w *worker) die() {
	w.r.doomed.Store(1)
	w.a.count(selfKills)
	if w.pid1 {
		w.r.killMe.Store(1)
	} else {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	for {
		time.Sleep(time.Second)
	}
}

// leave is os.Exit, or a panic elsewhere: no Close.
func (w *worker) leave() {
	if w.mortal && w.a.quiet.Load() == 0 {
		w.r.doomed.Store(1)
		w.a.count(exits)
		os.Exit(exitCode)
	}
}

func (w *worker) initialise(v *value) error {
	id := w.a.ids.Add(1)
	if id >= maxSegments {
		return errInit
	}
	if v.ID.Load() != 0 || v.Token != 0 || v.Inits.Load() != 0 || v.Sum != 0 || v.Fill[len(v.Fill)-1] != 0 {
		w.violate(uninitialised, "new memory is not zero")
	}
	v.Token = w.token
	w.point()
	for i := range v.Fill {
		v.Fill[i] = id*filler + uint64(i)
		if i%100 == 0 {
			w.point()
		}
	}
	if w.mortal && w.oneIn(60) {
		w.a.count(initFails)
		return errInit
	}
	v.Inits.Add(1)
	v.Sum = ^id
	v.ID.Store(id)
	w.made = id
	return nil
}

func (v *value) wrong() string {
	id := v.ID.Load()
	if id == 0 || v.Inits.Load() != 1 || v.Sum != ^id {
		return fmt.Sprintf("id %d, inits %d, sum %#x", id, v.Inits.Load(), v.Sum)
	}
	for i, x := range v.Fill {
		if x != id*filler+uint64(i) {
			return fmt.Sprintf("id %d: word %d is %#x", id, i, x)
		}
	}
	return ""
}

// drop is the value's Drop.
func (w *worker) drop(id uint64) {
	w.a.count(drops)
	if id == 0 || id >= maxSegments {
		return // an untyped one that nobody has seen yet
	}
	s := &w.a.segments[id]
	if n := s.drops.Add(1); n != 1 {
		w.violate(doubleDrop, "segment %d: %d times", id, n)
	}
	if owns, quiet := w.a.owning(id); quiet {
		w.others(func(r *record, h *holding) {
			if h.own.Load() == id && h.owns.Load() == owns && h.own.Load() == id && r.doomed.Load() == 0 && uint64(s.owns.Load()) == owns {
				w.violate(strangeDrop, "segment %d is owned by another", id)
			}
		})
		if k := uint64(s.kept.Load()); k != 0 && k-1 == owns {
			w.violate(strangeDrop, "segment %d is kept", id)
		}
	}
	w.point()
	if w.depth < depths && w.oneIn(4) { // a new segment of the same name
		w.a.count(nestedOpens)
		w.visit(int(s.name.Load()))
	}
	w.point()
}

// others calls f for every attachment but the one at this depth.
func (w *worker) others(f func(*record, *holding)) {
	for i := range w.a.workers {
		r := &w.a.workers[i]
		for d := range r.at {
			if h := &r.at[d]; h.id.Load() != 0 && (r != w.r || d != w.depth) {
				f(r, h)
			}
		}
	}
}

func (w *worker) options() *shmem.Options {
	o := &shmem.Options{Dir: w.dir, Timeout: time.Duration(w.cfg.timeout), Reserve: int(w.cfg.payload)}
	if w.cfg.reader > 0 {
		o.Mode = 0o644
		o.AnyUser = true
	}
	if w.cfg.scarce != 0 || w.oneIn(2) {
		o.Undo = shmem.UndoNever
	}
	if w.oneIn(8) {
		o.Slots = 2 + w.rng.IntN(3)
	}
	if w.oneIn(12) {
		o.Kept = true
	}
	if w.oneIn(4) {
		o.Populate = -1
	}
	return o
}

func (w *worker) name(n int) string { return "name-" + strconv.Itoa(n) }
func (w *worker) isRaw(n int) bool  { return n >= int(w.cfg.names-w.cfg.raw) }
func (w *worker) reader() bool      { return os.Geteuid() != 0 && w.cfg.reader > 0 }

func (w *worker) cycle() {
	w.a.count(cycles)
	n := w.rng.IntN(int(w.cfg.names))
	switch x := w.rng.IntN(100); {
	case w.reader():
		w.visit(n)
	case x < int(w.cfg.remove):
		if n%2 == 1 {
			w.remove(n)
		}
	case x < int(w.cfg.remove)+3:
		w.reclaim()
	default:
		w.visit(n)
	}
}

func (w *worker) remove(n int) {
	w.r.removing.Store(uint64(n) + 1)
	w.a.removals[n].Add(1)
	begun := time.Now()
	err := shmem.Remove(w.dir, w.name(n))
	w.r.removing.Store(0)
	if w.expect("Remove", err, begun, fs.ErrNotExist) {
		w.a.count(removed)
	}
}

func (w *worker) reclaim() {
	for info, err := range shmem.Reclaim(w.dir) {
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				w.violate(unexpected, "Reclaim: %v", err)
			}
			continue
		}
		_ = info
		w.a.count(reclaimed)
	}
}

// expect reports success; an error must be one of those allowed, or ErrBusy once the time is over.
func (w *worker) expect(op string, err error, begun time.Time, allowed ...error) bool {
	if err == nil {
		return true
	}
	took := time.Since(begun)
	switch {
	case errors.Is(err, shmem.ErrBusy):
		w.a.count(busy)
		if took < time.Duration(w.cfg.timeout)-time.Millisecond {
			w.violate(unexpected, "%s: after %v: %v", op, took, err)
		}
		return false
	case errors.Is(err, shmem.ErrNoSpace) && w.cfg.scarce != 0:
		w.a.count(noSpace)
		return false
	case errors.Is(err, shmem.ErrNoSlot):
		w.a.count(full)
		return false
	}
	for _, e := range allowed {
		if errors.Is(err, e) {
			return false
		}
	}
	w.violate(unexpected, "%s: %v", op, err)
	return false
}

// visit opens one name in one of the ways that there are, uses it, and leaves in one of the ways.
func (w *worker) visit(n int) {
	at := &attachment{name: n, h: &w.r.at[w.depth]}
	at.epoch, at.quiet = w.a.removing(n)
	if !w.open(at) {
		return
	}
	w.settle(at)
	w.stay(at)
}

func (w *worker) open(at *attachment) bool {
	o, name, begun := w.options(), w.name(at.name), time.Now()
	w.made = 0
	x := w.rng.IntN(100)
	if w.reader() {
		x = 70
		o.ReadOnly = true
	}
	var seg *shmem.Segment
	var err error
	raw, creating := w.isRaw(at.name), false
	switch {
	case raw:
		switch {
		case x < 60:
			seg, err = shmem.OpenSegment(name, 512, o)
			at.mayOwn = true
			w.expect("OpenSegment", err, begun)
		case x < 70:
			seg, err = shmem.CreateSegment(name, 512, o)
			creating = true
			w.expect("CreateSegment", err, begun, fs.ErrExist)
		default:
			o.ReadOnly = o.ReadOnly || w.oneIn(3)
			seg, err = shmem.AttachSegment(name, o)
			w.expect("AttachSegment", err, begun, fs.ErrNotExist)
		}
		at.check = func() string { return "" }
		if err == nil {
			// Who can write gives it its id, or the end of it would be nobody's to tell.
			if w.rawID(at, seg); w.percent(70) || at.id == 0 {
				at.box = w.rawBox(at, seg)
			}
		}
	case x < 88 || w.reader():
		var box *shmem.Box[value]
		switch {
		case x < 60:
			box, err = shmem.Open[value](name, o)
			w.expect("Open", err, begun, errInit)
			creating = w.made != 0
		case x < 70:
			box, err = shmem.Create[value](name, o)
			w.expect("Create", err, begun, fs.ErrExist, errInit)
			creating = true
		default:
			o.ReadOnly = o.ReadOnly || w.oneIn(3)
			box, err = shmem.Attach[value](name, o)
			w.expect("Attach", err, begun, fs.ErrNotExist)
		}
		if err == nil {
			seg, at.box = box.Segment(), true
			v := box.Value()
			at.check = v.wrong
			at.id = v.ID.Load()
			if x >= 60 && x < 70 && at.id != w.made {
				w.violate(twoCreators, "%s: Create attached to segment %d", name, at.id)
			}
			creating = creating && at.id == w.made
		}
	default:
		o.ReadOnly = w.oneIn(3)
		seg, err = shmem.AttachSegment(name, o)
		w.expect("AttachSegment", err, begun, fs.ErrNotExist)
		if err == nil {
			begun = time.Now()
			box, err := shmem.BoxOf[value](seg)
			if w.expect("BoxOf", err, begun) {
				w.a.count(rawBoxes)
				v := box.Value()
				at.box, at.check, at.id = true, v.wrong, v.ID.Load()
			} else {
				at.check = func() string { return "" }
			}
		}
	}
	if err != nil {
		return false
	}
	at.seg = seg
	if wrong := at.check(); wrong != "" {
		w.violate(uninitialised, "%s: %s", name, wrong)
	}
	if at.id >= maxSegments {
		at.id = 0
	}
	at.mayOwn = at.mayOwn || creating && !o.Kept
	if creating {
		w.a.count(created)
		w.created(at, o.Kept)
	} else {
		w.a.count(attached)
	}
	return true
}

func (w *worker) rawBox(at *attachment, seg *shmem.Segment) bool {
	begun := time.Now()
	box, err := shmem.BoxOf[rawValue](seg)
	if !w.expect("BoxOf", err, begun) {
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

func (w *worker) rawID(at *attachment, seg *shmem.Segment) {
	var b [8]byte
	if _, err := seg.ReadAt(b[:], 0); err != nil {
		w.violate(unexpected, "ReadAt: %v", err)
		return
	}
	for i := range b {
		at.id |= uint64(b[i]) << (8 * i)
	}
}

// created checks that whoever had the name before had lost it.
func (w *worker) created(at *attachment, kept bool) {
	if at.id == 0 {
		return
	}
	w.a.segments[at.id].name.Store(uint32(at.name))
	if at.quiet {
		w.others(func(r *record, h *holding) {
			id := h.id.Load()
			if id == 0 || id == at.id || h.name.Load() != uint64(at.name) || h.quiet.Load() == 0 {
				return
			}
			epoch := h.epoch.Load()
			if h.id.Load() != id || r.doomed.Load() != 0 || w.a.segments[id].ended.Load() != 0 || w.a.removals[at.name].Load() != epoch {
				return
			}
			if !w.stillNamed(at) {
				return // somebody else may have ended ours already
			}
			w.violate(twoCreators, "%s: segment %d was created while %d was attached", w.name(at.name), at.id, id)
		})
	}
	if k := w.a.kept[at.name].Load(); k != 0 && k != at.id {
		if w.keptStill(k, at.name) && at.quiet && w.stillNamed(at) {
			w.violate(lostKept, "%s: segment %d was created while %d was kept", w.name(at.name), at.id, k)
		}
	}
	if owns, quiet := w.a.owning(at.id); !kept && quiet && owns == 0 && !at.seg.Owned() && w.a.segments[at.id].owns.Load() == 0 {
		w.violate(notOwner, "segment %d: its creator does not own it", at.id)
	}
	if kept && at.quiet {
		w.keep(at, 0)
	}
}

// stillNamed: nobody has begun to remove or to end the segment that at is attached to.
func (w *worker) stillNamed(at *attachment) bool {
	return w.a.segments[at.id].ended.Load() == 0 && w.a.removals[at.name].Load() == at.epoch
}

// keep says that nobody but Own or Remove may take the segment away from now on.
func (w *worker) keep(at *attachment, owns uint64) {
	s := &w.a.segments[at.id]
	if uint64(s.owns.Load()) != owns {
		return
	}
	s.keptEpoch.Store(uint32(at.epoch))
	s.kept.Store(uint32(owns) + 1)
	w.a.kept[at.name].Store(at.id)
}

func (w *worker) keptStill(id uint64, name int) bool {
	s := &w.a.segments[id]
	epoch := s.keptEpoch.Load()
	return s.kept.Load() == s.owns.Load()+1 && uint64(epoch) == w.a.removals[name].Load() && s.ended.Load() == 0
}

// settle tells the others of the attachment.
func (w *worker) settle(at *attachment) {
	h := at.h
	if at.id == 0 {
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

// stay uses the attachment and ends it.
func (w *worker) stay(at *attachment) {
	for range w.rng.IntN(5) {
		w.look(at)
		switch x := w.rng.IntN(100); {
		case x < 12 && !w.reader():
			w.own(at)
		case x < 20 && w.depth+1 < depths-1:
			w.depth++
			w.visit(w.rng.IntN(int(w.cfg.names)))
			w.depth--
		case x < 25 && w.depth+1 < depths-1 && w.cfg.reader == 0:
			w.again(at)
		case x < 30 && w.cfg.links != 0 && !w.reader():
			w.link(at)
		case x < 40:
			time.Sleep(time.Duration(w.rng.IntN(300)) * time.Microsecond)
		}
		w.point()
	}
	w.look(at)
	if w.oneIn(150) {
		w.leave()
	}
	w.end(at)
}

// look checks what must be true of a live attachment.
func (w *worker) look(at *attachment) {
	if wrong := at.check(); wrong != "" {
		w.violate(uninitialised, "%s, segment %d later: %s", w.name(at.name), at.id, wrong)
	}
	if at.id == 0 {
		return
	}
	if !at.fromFile && at.quiet && !at.vanished && !at.seg.Linked() && w.stillNamed(at) {
		at.vanished = true
		w.violate(vanished, "%s, segment %d", w.name(at.name), at.id)
	}
	w.claim(at)
}

// claim looks who owns the segment.
func (w *worker) claim(at *attachment) {
	owns, quiet := w.a.owning(at.id)
	if !quiet || !at.seg.Owned() || uint64(w.a.segments[at.id].owns.Load()) != owns {
		return
	}
	if !at.mayOwn {
		w.violate(notOwner, "segment %d: owner without Own", at.id)
	}
	at.h.owns.Store(owns)
	at.h.own.Store(at.id)
	w.others(func(_ *record, h *holding) {
		if h.own.Load() == at.id && h.owns.Load() == owns && h.own.Load() == at.id && uint64(w.a.segments[at.id].owns.Load()) == owns {
			w.violate(twoOwners, "segment %d", at.id)
		}
	})
}

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
	begun := time.Now()
	err := at.seg.Own()
	w.r.owning.Store(0)
	allowed := []error{shmem.ErrDropped}
	if at.seg.ReadOnly() {
		allowed = []error{shmem.ErrReadOnly}
	}
	if w.expect("Own", err, begun, allowed...) {
		w.a.count(owned)
		if n, quiet := w.a.owning(at.id); alone && quiet && n == owns && !at.seg.Owned() && uint64(s.owns.Load()) == owns {
			w.violate(notOwner, "segment %d: not owner after Own", at.id)
		}
	} else if errors.Is(err, shmem.ErrDropped) && s.ended.Load() == 0 {
		w.violate(vanished, "segment %d is dropped, and its owner did not close", at.id)
	}
}

// again attaches to the same segment by its descriptor.
func (w *worker) again(at *attachment) {
	f, err := at.seg.File()
	if err != nil {
		w.violate(unexpected, "File: %v", err)
		return
	}
	defer f.Close()
	w.depth++
	defer func() { w.depth-- }()
	begun := time.Now()
	seg, err := shmem.FromFile(f, w.options())
	if !w.expect("FromFile", err, begun, fs.ErrNotExist) {
		if errors.Is(err, fs.ErrNotExist) && at.id != 0 && w.a.segments[at.id].ended.Load() == 0 {
			w.violate(vanished, "segment %d is gone, and its owner did not close: %v", at.id, err)
		}
		return
	}
	w.a.count(fromFiles)
	more := &attachment{
		seg: seg, id: at.id, name: at.name, epoch: at.epoch, quiet: at.quiet, fromFile: true,
		h: &w.r.at[w.depth], check: func() string { return "" },
	}
	w.settle(more)
	w.stay(more)
}

// link gives the segment's file one more name, elsewhere: the link count lies then.
func (w *worker) link(at *attachment) {
	to := filepath.Join(w.spare, strconv.Itoa(w.rng.IntN(8)))
	if os.Link(filepath.Join(w.dir, w.name(at.name)), to) == nil {
		w.a.count(links)
	} else {
		_ = os.Remove(to)
	}
}

// end closes or leaks.
func (w *worker) end(at *attachment) {
	owns, quiet, owner := uint64(0), false, false
	var s *segment
	if at.id != 0 {
		s = &w.a.segments[at.id]
		owns, quiet = w.a.owning(at.id)
		if owner = at.seg.Owned(); owner && !at.mayOwn {
			w.violate(notOwner, "segment %d: owner without Own, at the end", at.id)
		}
		quiet = quiet && uint64(s.owns.Load()) == owns
	} else {
		owner = at.seg.Owned()
	}
	leak := w.oneIn(8) && !w.reader() || owner && s == nil
	at.h.own.Store(0)
	at.h.id.Store(0)
	begun := time.Now()
	if leak {
		err := at.seg.Leak()
		if w.expect("Leak", err, begun) && owner {
			w.a.count(leakedOn)
			if s != nil && quiet && at.quiet && !at.fromFile && s.ended.Load() == 0 {
				w.keep(at, owns)
			}
		}
		return
	}
	if owner && s != nil {
		s.ended.Store(1)
	}
	w.depth++ // Drop may open
	err := at.seg.Close()
	w.depth--
	if !w.expect("Close", err, begun) || !owner || !quiet || uint64(s.owns.Load()) != owns {
		return
	}
	if at.box && s.drops.Load() != 1 {
		w.violate(dutyUndone, "segment %d: %d drops after the owner's Close", at.id, s.drops.Load())
	}
	if !at.fromFile && at.seg.Linked() {
		w.violate(dutyUndone, "segment %d: the name is there after the owner's Close", at.id)
	}
}
