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
	"syscall"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

const exitCode = 7 // of a worker that leaves without Close

// A worker is the process that uses the library and checks it. One goroutine uses it.
type worker struct {
	a      *shared
	cfg    config
	r      *record
	index  int
	dir    string // of the segments
	spare  string // of the hard links
	log    string
	rng    *rand.Rand
	token  uint64
	pid1   bool   // first process of a PID namespace: a signal to itself does not kill it
	chance int    // one step in so many is its last
	mortal bool   // false: it never dies at a step
	depth  int    // attachments that are open now
	made   uint64 // the segment that Init made last
}

func newWorker(a *shared, index int, base string) *worker {
	w := &worker{
		a: a, cfg: a.cfg, r: &a.workers[index%maxWorkers], index: index,
		dir: filepath.Join(base, "seg"), spare: filepath.Join(base, "spare"),
		log: filepath.Join(base, "log"), pid1: os.Getpid() == 1, mortal: true,
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
	// In a forked process, a lock of Go's runtime that another thread held at the fork stays held
	// for ever. The scheduler's lock is the one that matters: Gosched hangs on it. A worker that
	// hangs here is not born yet, and the parent kills it.
	runtime.Gosched()
	time.Sleep(time.Microsecond)
	w.r.born.Store(1)
	// Some workers die young, others live to do much.
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
	what := fmt.Sprintf(format, args...)
	text := fmt.Sprintf("worker %d: %s: %s\n", w.index, violationNames[v], what)
	if f, err := os.OpenFile(w.log, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		_, _ = f.WriteString(text)
		_ = f.Close()
	}
}

// point is called at every step of the library and at some steps of the worker. The worker may die
// here, or let other processes run first.
func (w *worker) point() {
	if !w.mortal || w.a.quiet.Load() != 0 {
		return
	}
	if w.cfg.polite == 0 && w.oneIn(w.chance) {
		w.die()
	}
	switch n := w.rng.IntN(400); {
	case w.cfg.polite != 0 && n >= 320:
		// Where no worker dies faults show by the order of calls alone: let it vary more.
		time.Sleep(time.Duration(w.rng.IntN(300)) * time.Microsecond)
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

// exit ends the process without Close, as os.Exit or a panic in other code does.
func (w *worker) exit() {
	if w.mortal && w.a.quiet.Load() == 0 && w.cfg.polite == 0 {
		w.r.doomed.Store(1)
		w.a.count(exits)
		os.Exit(exitCode)
	}
}

// others calls f for every attachment except the one at this depth.
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

func (w *worker) name(n int) string { return "name-" + strconv.Itoa(n) }
func (w *worker) isRaw(n int) bool  { return n >= int(w.cfg.names-w.cfg.raw) }
func (w *worker) reader() bool      { return os.Geteuid() != 0 && w.cfg.reader > 0 }

// cycle removes, reclaims, or, most often, visits a name.
func (w *worker) cycle() {
	w.a.count(cycles)
	n := w.rng.IntN(int(w.cfg.names))
	const reclaimPercent = 3
	switch x := w.rng.IntN(100); {
	case w.cfg.queues != 0 && x >= reclaimPercent:
		w.visitQueue(n)
	case w.cfg.queues != 0:
		w.reclaim()
	case w.reader():
		w.visit(n)
	case x < int(w.cfg.remove):
		if n%2 == 1 {
			w.remove(n)
		}
	case x < int(w.cfg.remove)+reclaimPercent:
		w.reclaim()
	default:
		w.visit(n)
	}
}

func (w *worker) remove(n int) {
	w.r.removing.Store(uint64(n) + 1)
	w.a.removals[n].Add(1)
	began := time.Now()
	err := shmem.Remove(w.dir, w.name(n))
	w.r.removing.Store(0)
	if w.expect("Remove", err, began, fs.ErrNotExist) {
		w.a.count(removed)
	}
}

func (w *worker) reclaim() {
	for _, err := range shmem.Reclaim(w.dir) {
		if err == nil {
			w.a.count(reclaimed)
		} else if !errors.Is(err, fs.ErrNotExist) {
			w.violate(unexpected, "Reclaim: %v", err)
		}
	}
}

// expect reports whether a call succeeded. An error must be an allowed one, a shortage that the
// plan makes, or ErrBusy or ErrContended after the time limit; any other error is a violation.
func (w *worker) expect(op string, err error, began time.Time, allowed ...error) bool {
	if err == nil {
		return true
	}
	took := time.Since(began)
	switch {
	case errors.Is(err, shmem.ErrBusy), errors.Is(err, shmem.ErrContended):
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
