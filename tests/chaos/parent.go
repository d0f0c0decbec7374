//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/sys"
)

// A variant is one mix of what the workers do.
type variant struct {
	name, about string
	set         func(*plan)
	root        bool // it needs root
}

// plan is what one run does.
type plan struct {
	config
	workers  int
	killMs   int           // the parent kills about every so many milliseconds
	stopMs   int           // the parent stops a worker about every so many milliseconds; 0: never
	stopMax  time.Duration // how long a worker is stopped, at most
	pidns    int           // percent of the workers in a fresh PID namespace
	tmpfs    int64         // bytes of a tmpfs for the segments; 0: /dev/shm
	duration time.Duration
	kills    int64  // kills after which it ends; 0: duration alone counts
	enough   uint64 // violations after which it ends; 0: it does not
	fork     bool
}

var variants = []variant{
	{"mixed", "everything at once", func(p *plan) {
		p.temp, p.stopMs, p.pidns = 30, 200, 10
	}, false},
	{"duel", "all on one typed name, which is owned", func(p *plan) {
		p.names, p.raw, p.remove, p.lifetime = 1, 0, 0, int64(shmem.Owned)
	}, false},
	{"share", "all on one typed name, which is shared", func(p *plan) {
		p.names, p.raw, p.remove, p.lifetime = 1, 0, 0, int64(shmem.Shared)
	}, false},
	{"polite", "all on one typed name, which is shared, and no worker dies", func(p *plan) {
		p.names, p.raw, p.remove, p.lifetime, p.polite = 1, 0, 0, int64(shmem.Shared), 1
		p.workers, p.kills = min(p.workers, 4), 0
		if p.duration == 0 {
			p.duration = 5 * time.Second
		}
	}, false},
	{"queue", "queues, whose messages survive", func(p *plan) {
		p.raw, p.remove, p.queues, p.lifetime = 0, 0, 1, int64(shmem.Shared)
		p.fork = false // calls that block need threads of the runtime; a forked process has none
	}, false},
	{"temp", "no nameless files", func(p *plan) { p.temp = 100 }, false},
	{"raw", "untyped segments only", func(p *plan) { p.raw = p.names }, false},
	{"remove", "many removals", func(p *plan) { p.remove = 25 }, false},
	{"stop", "many are stopped, and the time limit is short", func(p *plan) {
		p.stopMs, p.stopMax, p.timeout = 25, time.Second, int64(150*time.Millisecond)
	}, false},
	{"pidns", "half of them each in a fresh PID namespace", func(p *plan) { p.pidns = 50 }, true},
	{"reader", "a second user, which may only read", func(p *plan) {
		p.reader = int64(p.workers / 3)
	}, true},
	{"tmpfs", "eight creators where one and a half segments fit", func(p *plan) {
		p.workers, p.names, p.raw, p.scarce, p.links = 8, 1, 0, 1, 0
		p.payload, p.tmpfs = 64<<10, 160<<10
	}, true},
}

// A child is one running worker, as the parent sees it.
type child struct {
	forked bool // by the forker, not started as a program
	pid    int
	index  int
	beat   uint64
	since  time.Time // of the last beat
	resume time.Time // when a stopped worker is to continue; zero: it is not stopped
	reader bool
	pidns  bool
	doomed bool // the parent has killed it
}

// The parent starts the workers of one variant, kills them, and checks what is left at the end.
// Only the goroutine of run uses it.
type parent struct {
	plan
	a        *shared
	base     string
	exe      string
	rng      *rand.Rand
	children []*child // by index; nil: not running
	forker   *forker  // nil: every worker is started as a program
	res      *result
	began    time.Time
	show     func(*parent) // nil: no progress is shown

	nextKill, nextStop, nextShow time.Time
}

// run runs one variant.
func run(v variant, p plan, show func(*parent)) (res *result) {
	res = &result{
		Variant: v.name, Flaw: *flawFlag, Counts: map[string]uint64{},
		Violations: map[string]uint64{},
	}
	began := time.Now()
	defer func() { res.Seconds = time.Since(began).Seconds() }()
	base, err := os.MkdirTemp(sys.DefaultDir, "chaos-")
	if err != nil {
		res.Error = err.Error()
		return res
	}
	defer os.RemoveAll(base)
	q := &parent{
		plan: p, base: base, res: res, show: show, began: began,
		rng: rand.New(rand.NewPCG(uint64(p.seed), 0)),
	}
	if err := q.setUp(); err != nil {
		res.Error = err.Error()
		return res
	}
	if p.tmpfs != 0 {
		defer syscall.Unmount(filepath.Join(base, "seg"), syscall.MNT_DETACH)
	}
	q.killLoop()
	q.calm()
	q.finish()
	q.sum()
	return res
}

// sum takes the counts, the violations and the log into the result.
func (q *parent) sum() {
	for i, name := range counterNames {
		if n := q.a.counts[i].Load(); n != 0 {
			q.res.Counts[name] = n
		}
	}
	for i, name := range violationNames {
		if n := q.a.violations[i].Load(); n != 0 {
			q.res.Violations[name] = n
			q.res.Total += n
		}
	}
	if log, _ := os.ReadFile(filepath.Join(q.base, "log")); len(log) > 0 {
		lines := strings.Split(strings.TrimSpace(string(log)), "\n")
		q.res.Log = lines[:min(len(lines), 40)]
	}
}

// setUp makes the directories, the log, the audit page, and the tmpfs if there is one.
func (q *parent) setUp() (err error) {
	if err := os.Chmod(q.base, 0o755); err != nil {
		return err
	}
	for _, d := range []string{"seg", "spare"} {
		if err := os.Mkdir(filepath.Join(q.base, d), 0o755); err != nil {
			return err
		}
	}
	log := filepath.Join(q.base, "log")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		return err
	}
	if err := os.Chmod(log, 0o666); err != nil { // the other user writes as well
		return err
	}
	if q.exe, err = q.executable(); err != nil {
		return err
	}
	if q.tmpfs != 0 {
		options := fmt.Sprintf("size=%d,mode=755", q.tmpfs)
		dir := filepath.Join(q.base, "seg")
		if err := syscall.Mount("chaos", dir, "tmpfs", 0, options); err != nil {
			return fmt.Errorf("mounting a tmpfs: %w", err)
		}
	}
	q.a, err = openAudit(filepath.Join(q.base, "audit"), true)
	if err != nil {
		return err
	}
	q.a.cfg = q.config
	return nil
}

// executable returns the program of the workers. With readers it is a copy that the other user can
// run: the directory of go run is closed to other users.
func (q *parent) executable() (string, error) {
	const self = "/proc/self/exe"
	if q.reader == 0 {
		return filepath.EvalSymlinks(self)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		return "", err
	}
	exe := filepath.Join(q.base, "worker")
	return exe, os.WriteFile(exe, b, 0o755)
}

// start starts the worker of an index.
func (q *parent) start(index int) {
	q.a.workers[index].reset()
	c := &child{
		index: index, since: time.Now(),
		reader: index >= q.workers-int(q.reader), pidns: q.rng.IntN(100) < q.pidns,
	}
	if q.forker != nil && !c.pidns {
		pid, err := q.forker.start(index, c.reader)
		if err == nil {
			c.pid, c.forked = pid, true
			q.res.Workers++
			q.children[index] = c
			return
		}
		q.violate(unexpected, "forking a worker: %v", err)
	}
	q.startProgram(c)
}

// startProgram starts a worker as a program of its own.
func (q *parent) startProgram(c *child) {
	attr := &syscall.ProcAttr{
		Env:   q.env(),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	if c.pidns {
		attr.Sys.Cloneflags = syscall.CLONE_NEWPID
	}
	if c.reader {
		attr.Sys.Credential = &syscall.Credential{Uid: readerID, Gid: readerID}
	}
	args := []string{"chaos-worker", workerArg, fmt.Sprint(c.index), q.base}
	pid, err := syscall.ForkExec(q.exe, args, attr)
	if err != nil {
		if q.pidns > 0 && errors.Is(err, syscall.EPERM) {
			q.pidns = 0 // not root
			q.start(c.index)
			return
		}
		q.violate(unexpected, "starting a worker: %v", err)
		q.children[c.index] = nil
		return
	}
	c.pid = pid
	q.res.Workers++
	q.children[c.index] = c
}

func (q *parent) env() []string {
	return []string{"GOMAXPROCS=1", "GOGC=off", "GOTRACEBACK=all"}
}

func (q *parent) violate(v violation, format string, args ...any) {
	w := &worker{a: q.a, log: filepath.Join(q.base, "log"), index: -1}
	w.violate(v, format, args...)
}

// kill kills a worker that is not reaped yet: its pid cannot be another process's.
func (q *parent) kill(c *child) {
	q.a.workers[c.index].doomed.Store(1)
	c.doomed = true
	_ = syscall.Kill(c.pid, syscall.SIGKILL)
}

// giveUp kills a worker that hangs, and has it print its stacks first.
func (q *parent) giveUp(c *child, format string, args ...any) {
	q.violate(hung, format, args...)
	_ = syscall.Kill(c.pid, syscall.SIGQUIT)
	time.Sleep(200 * time.Millisecond)
	q.kill(c)
}

func (q *parent) violated() (n uint64) {
	for i := range q.a.violations {
		n += q.a.violations[i].Load()
	}
	return n
}

// killLoop starts the workers and kills them until the plan is fulfilled.
func (q *parent) killLoop() {
	runtime.LockOSThread() // Pdeathsig is sent when the thread that started a child ends
	// The processes that start workers must run among many busy ones; the workers set the priority
	// back.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, -15)
	defer func() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 0) }()
	q.children = make([]*child, q.workers)
	if q.fork && canFork {
		f, err := startForker(q.exe, q.base, q.env())
		if err != nil {
			q.violate(unexpected, "starting the process that forks: %v", err)
			return
		}
		q.forker = f
	}
	for i := range q.children {
		q.start(i)
	}
	for {
		now := time.Now()
		if q.over(now) {
			return
		}
		for _, index := range q.reap() {
			q.start(index)
		}
		q.serveAll(now)
		q.killSome(now)
		q.stopOne(now)
		if q.show != nil && now.After(q.nextShow) {
			q.nextShow = now.Add(500 * time.Millisecond)
			q.show(q)
		}
		time.Sleep(500 * time.Microsecond)
	}
}

// over reports whether the kill loop is to end. It notes when the first violation was seen.
func (q *parent) over(now time.Time) bool {
	took := now.Sub(q.began)
	if n := q.violated(); n > 0 {
		if q.res.First == 0 {
			q.res.First = took.Seconds()
		}
		if q.enough != 0 && n >= q.enough {
			return true
		}
	}
	if q.a.ids.Load() > maxSegments*9/10 {
		return true // the audit page is nearly full
	}
	if q.kills == 0 {
		return took >= q.duration
	}
	return q.res.Kills >= q.kills && (q.duration == 0 || took >= q.duration)
}

// killSome kills as many workers as are due by now.
func (q *parent) killSome(now time.Time) {
	if q.polite != 0 {
		return
	}
	if q.nextKill.IsZero() || now.Sub(q.nextKill) > time.Second {
		q.nextKill = now
	}
	for now.After(q.nextKill) {
		c := q.children[q.rng.IntN(len(q.children))]
		if c != nil && !c.doomed {
			r := &q.a.workers[c.index]
			if r.beat.Load() > 0 && r.doomed.Load() == 0 {
				q.res.ByParent++
				q.kill(c)
			}
		}
		q.nextKill = q.nextKill.Add(time.Duration(1+q.rng.IntN(2*q.killMs*1000)) * time.Microsecond)
	}
}

// stopOne stops a worker for a while, if that is due.
func (q *parent) stopOne(now time.Time) {
	if q.stopMs == 0 || !now.After(q.nextStop) {
		return
	}
	q.nextStop = now.Add(time.Duration(q.rng.IntN(2*q.stopMs)) * time.Millisecond)
	c := q.children[q.rng.IntN(len(q.children))]
	if c == nil || !c.resume.IsZero() || c.doomed {
		return
	}
	if syscall.Kill(c.pid, syscall.SIGSTOP) == nil {
		q.res.Stops++
		c.resume = now.Add(time.Duration(q.rng.Int64N(int64(q.stopMax))))
	}
}

const patience = 30 * time.Second

func (q *parent) serveAll(now time.Time) {
	for _, c := range q.children {
		if c != nil {
			q.serve(c, now)
		}
	}
}

// serve continues a stopped worker whose time is over, kills a worker that asks for it, and kills a
// worker that hangs.
func (q *parent) serve(c *child, now time.Time) {
	r := &q.a.workers[c.index]
	if !c.resume.IsZero() {
		c.since = now
		if now.After(c.resume) {
			c.resume = time.Time{}
			_ = syscall.Kill(c.pid, syscall.SIGCONT)
		}
	}
	if r.killMe.Load() != 0 && !c.doomed {
		q.kill(c)
	}
	b := r.beat.Load()
	silent := now.Sub(c.since)
	switch {
	case b != c.beat:
		c.beat, c.since = b, now
	case c.doomed:
	case r.born.Load() == 0 && c.forked && silent > 5*time.Second:
		q.res.Stillborn++
		q.kill(c)
	case silent > patience:
		q.giveUp(c, "worker %d, after %d cycles", c.index, b)
	}
}

// reap collects the workers that have ended, and returns their indices.
func (q *parent) reap() (ended []int) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return ended
		}
		i := slices.IndexFunc(q.children, func(c *child) bool { return c != nil && c.pid == pid })
		if i < 0 {
			continue
		}
		q.judge(i, ws)
		q.a.workers[i].reset()
		q.children[i] = nil
		ended = append(ended, i)
	}
}

// judge counts the end of a worker: by a kill, by leaving without Close, or at the end of the run.
// Every other end is a violation.
func (q *parent) judge(i int, ws syscall.WaitStatus) {
	switch {
	case ws.Signaled() && ws.Signal() == syscall.SIGKILL:
		if q.a.workers[i].born.Load() != 0 || !q.children[i].forked {
			q.res.Kills++
		}
		if q.a.workers[i].doomed.Load() == 0 {
			q.violate(unexpected, "worker %d was killed by a stranger", i)
		}
	case ws.Exited() && ws.ExitStatus() == exitCode:
	case ws.Exited() && ws.ExitStatus() == 0 && q.a.stop.Load() != 0:
	default:
		q.violate(unexpected, "worker %d ended: %v, status %d", i, ws, ws.ExitStatus())
	}
}

// calm ends the killing and has all workers leave normally.
func (q *parent) calm() {
	q.a.quiet.Store(1)
	for _, c := range q.children {
		if c != nil && !c.resume.IsZero() {
			c.resume = time.Time{}
			_ = syscall.Kill(c.pid, syscall.SIGCONT)
		}
	}
	for t := time.Now(); time.Since(t) < 300*time.Millisecond; time.Sleep(time.Millisecond) {
		q.reap()
		q.serveAll(time.Now())
	}
	q.a.stop.Store(1)
	for t := time.Now(); ; time.Sleep(time.Millisecond) {
		q.reap()
		left := 0
		for _, c := range q.children {
			if c == nil {
				continue
			}
			left++
			if time.Since(t) > patience {
				q.giveUp(c, "worker %d does not leave", c.index)
			} else {
				q.serve(c, time.Now())
			}
		}
		if left == 0 {
			break
		}
	}
	if q.forker != nil {
		_ = q.forker.ask.Close()
		_ = q.forker.got.Close()
		_ = q.forker.cmd.Wait()
	}
}

// finish checks that only kept segments are left, and that each of them is whole and can be
// removed.
func (q *parent) finish() {
	w := newWorker(q.a, maxWorkers-1, q.base)
	w.mortal = false
	if q.queues != 0 {
		q.drain(w)
	}
	if q.polite != 0 {
		q.checkDropped()
	}
	w.reclaim()
	dir := filepath.Join(q.base, "seg")
	found := map[uint64]bool{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		q.violate(unexpected, "%v", err)
	}
	for _, e := range entries {
		info, err := shmem.Stat(dir, e.Name())
		if err != nil || info.State != shmem.Idle {
			q.violate(leaked, "%s: %v %v", e.Name(), info.State, err)
			continue
		}
		if at := q.attachKept(w, dir, e.Name()); at != nil {
			found[at.id] = true
			q.endKept(w, at)
		}
	}
	for n := range int(q.names) {
		if k := q.a.kept[n].Load(); k != 0 && !found[k] && w.keptStill(k, n) {
			q.violate(lostKept, "name-%d: segment %d, at the end", n, k)
		}
	}
	if entries, _ = os.ReadDir(dir); len(entries) > 0 {
		q.violate(leaked, "%v after all was closed", entries)
	}
	if q.tmpfs != 0 {
		if m, err := sys.MountOf(dir); err != nil || m.Avail != m.Size {
			q.violate(leaked, "%d of %d bytes are free in an empty tmpfs (%v)", m.Avail, m.Size,
				err)
		}
	}
}

// attachKept attaches to a kept segment; nil: it cannot be attached.
func (q *parent) attachKept(w *worker, dir, name string) *attachment {
	var n int
	_, _ = fmt.Sscanf(name, "name-%d", &n)
	at := &attachment{name: n, h: &w.r.at[0], epoch: q.a.removals[n].Load(), quiet: true}
	seg, err := shmem.AttachSegment(name, &shmem.Options{Dir: dir})
	if err != nil {
		q.violate(unexpected, "attaching to what was kept: %v", err)
		return nil
	}
	at.seg = seg
	if w.isRaw(n) {
		at.check = unchecked
		at.box = w.rawBox(at, seg)
		return at
	}
	box, err := shmem.BoxOf[value](seg)
	if err != nil {
		q.violate(unexpected, "the box of what was kept: %v", err)
		return nil
	}
	at.box, at.check = true, box.Value().wrong
	at.id = box.Value().ID.Load() % maxSegments
	return at
}

// endKept owns a kept segment and closes it, which must drop its value once.
func (q *parent) endKept(w *worker, at *attachment) {
	w.settle(at)
	w.verify(at)
	w.own(at)
	w.verify(at)
	w.depth = depths // Drop must open nothing
	began := time.Now()
	q.a.segments[at.id].ended.Store(1)
	at.h.own.Store(0)
	at.h.id.Store(0)
	w.expect("Close", at.seg.Close(), began)
	w.depth = 0
	if n := q.a.segments[at.id].drops.Load(); n != 1 && at.id != 0 {
		q.violate(dutyUndone, "segment %d: %d drops at the end", at.id, n)
	}
}

// checkDropped checks that each segment of a polite run was dropped: every process has closed what
// it had opened.
func (q *parent) checkDropped() {
	for id := range min(q.a.ids.Load(), maxSegments-1) {
		if s := &q.a.segments[id+1]; s.published.Load() != 0 && s.drops.Load() == 0 {
			q.violate(undropped, "segment %d", id+1)
		}
	}
}

// drain receives what is left in the queues, and checks that every message was received that was
// sent.
func (q *parent) drain(w *worker) {
	for n := range int(q.names) {
		w.drainQueue(n)
	}
	for id := range min(q.a.ids.Load(), maxSegments-1) {
		if s := &q.a.segments[id+1]; s.sent().Load() != 0 && s.received().Load() == 0 {
			q.violate(lostMessage, "message %d", id+1)
		}
	}
}
