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
	"github.com/shmembox/shmem/internal/step"
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
	killMs   int // the parent kills about every so many milliseconds
	stopMs   int // and stops one; 0: never
	stopMax  time.Duration
	pidns    int // percent of the workers in a fresh PID namespace
	tmpfs    int64
	duration time.Duration
	kills    int64
	enough   uint64 // violations after which it ends
	fork     bool
}

var variants = []variant{
	{"mixed", "everything at once", func(p *plan) { p.temp, p.stopMs, p.pidns = 30, 200, 10 }, false},
	{"duel", "all on one typed name", func(p *plan) { p.names, p.raw, p.remove = 1, 0, 0 }, false},
	{"temp", "no nameless files", func(p *plan) { p.temp = 100 }, false},
	{"raw", "untyped segments only", func(p *plan) { p.raw = p.names }, false},
	{"remove", "many removals", func(p *plan) { p.remove = 25 }, false},
	{"stop", "many are stopped, and the time limit is short", func(p *plan) {
		p.stopMs, p.stopMax, p.timeout = 25, time.Second, int64(150*time.Millisecond)
	}, false},
	{"pidns", "half of them each in a fresh PID namespace", func(p *plan) { p.pidns = 50 }, true},
	{"reader", "a second user, who may only read", func(p *plan) { p.reader = int64(p.workers / 3) }, true},
	{"tmpfs", "eight creators where one and a half segments fit", func(p *plan) {
		p.workers, p.names, p.raw, p.scarce, p.links = 8, 1, 0, 1, 0
		p.payload, p.tmpfs = 64<<10, 160<<10
	}, true},
}

// result is what came of one run.
type result struct {
	Variant    string
	Flaw       string `json:",omitempty"`
	Seconds    float64
	Kills      int64 // processes that a SIGKILL ended
	ByParent   int64
	Stops      int64
	Workers    int64             // processes that were started
	Stillborn  int64             `json:",omitempty"` // forked ones that were stuck before they began, not among the kills
	First      float64           `json:",omitempty"` // seconds to the first violation
	Total      uint64            // violations
	Violations map[string]uint64 `json:",omitempty"`
	Counts     map[string]uint64
	Log        []string `json:",omitempty"`
	Error      string   `json:",omitempty"`
}

type child struct {
	forked  bool
	pid     int
	index   int
	beat    uint64
	since   time.Time // of the last beat
	resume  time.Time // when it is to go on; zero: it runs
	reader  bool
	pidns   bool
	doomed  bool
	started time.Time
}

type parent struct {
	plan
	a        *shared
	base     string
	exe      string
	rng      *rand.Rand
	children []*child
	forker   *forker
	res      *result
	show     func(*parent)
}

// run does one variant.
func run(v variant, p plan, show func(*parent)) (res *result) {
	res = &result{Variant: v.name, Flaw: os.Getenv("SHMEM_FLAW"), Counts: map[string]uint64{}, Violations: map[string]uint64{}}
	begun := time.Now()
	defer func() { res.Seconds = time.Since(begun).Seconds() }()
	base, err := os.MkdirTemp(sys.DefaultDir, "chaos-")
	if err != nil {
		res.Error = err.Error()
		return res
	}
	defer os.RemoveAll(base)
	q := &parent{plan: p, base: base, res: res, show: show, rng: rand.New(rand.NewPCG(uint64(p.seed), 0))}
	if err := q.setUp(); err != nil {
		res.Error = err.Error()
		return res
	}
	if p.tmpfs != 0 {
		defer syscall.Unmount(filepath.Join(base, "seg"), syscall.MNT_DETACH)
	}
	q.storm(begun)
	q.calm()
	q.finish()
	for i, name := range counterNames {
		if n := q.a.counts[i].Load(); n != 0 {
			res.Counts[name] = n
		}
	}
	for i, name := range violationNames {
		if n := q.a.violations[i].Load(); n != 0 {
			res.Violations[name] = n
			res.Total += n
		}
	}
	log, _ := os.ReadFile(filepath.Join(base, "log"))
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	if len(log) > 0 {
		res.Log = lines[:min(len(lines), 40)]
	}
	return res
}

func (q *parent) setUp() (err error) {
	if err := os.Chmod(q.base, 0o755); err != nil {
		return err
	}
	for _, d := range []string{"seg", "spare"} {
		if err := os.Mkdir(filepath.Join(q.base, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(q.base, "log"), nil, 0o600); err != nil {
		return err
	}
	if err := os.Chmod(filepath.Join(q.base, "log"), 0o666); err != nil {
		return err
	}
	// A copy of this program that the other user can run as well; go run's directory is closed to it.
	q.exe = "/proc/self/exe"
	if q.reader != 0 {
		b, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			return err
		}
		q.exe = filepath.Join(q.base, "worker")
		if err := os.WriteFile(q.exe, b, 0o755); err != nil {
			return err
		}
	}
	if q.exe, err = filepath.EvalSymlinks(q.exe); err != nil {
		return err
	}
	if q.tmpfs != 0 {
		if err := syscall.Mount("chaos", filepath.Join(q.base, "seg"), "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", q.tmpfs)); err != nil {
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

// start starts the worker of an index.
func (q *parent) start(index int) {
	q.a.workers[index].clear()
	c := &child{index: index, since: time.Now(), started: time.Now(), reader: index >= q.workers-int(q.reader), pidns: q.rng.IntN(100) < q.pidns}
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
	attr := &syscall.ProcAttr{
		Env:   q.env(),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	if c.pidns {
		attr.Sys.Cloneflags = syscall.CLONE_NEWPID
	}
	if c.reader {
		attr.Sys.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	pid, err := syscall.ForkExec(q.exe, []string{"chaos-worker", workerArg, fmt.Sprint(index), q.base}, attr)
	if err != nil {
		if q.pidns > 0 && errors.Is(err, syscall.EPERM) {
			q.pidns = 0 // not root
			q.start(index)
			return
		}
		q.violate(unexpected, "starting a worker: %v", err)
		q.children[index] = nil
		return
	}
	c.pid = pid
	q.res.Workers++
	q.children[index] = c
}

func (q *parent) env() []string {
	return []string{"GOMAXPROCS=1", "GOGC=off", "GOTRACEBACK=all", "SHMEM_FLAW=" + q.res.Flaw}
}

func (q *parent) violate(v violation, format string, args ...any) {
	w := &worker{a: q.a, log: filepath.Join(q.base, "log"), index: -1}
	w.violate(v, format, args...)
}

func (q *parent) kill(c *child) {
	q.a.workers[c.index].doomed.Store(1)
	c.doomed = true
	_ = syscall.Kill(c.pid, syscall.SIGKILL) // it is not reaped yet: the pid is its own
}

func (q *parent) violated() (n uint64) {
	for i := range q.a.violations {
		n += q.a.violations[i].Load()
	}
	return n
}

// storm is the part with the deaths.
func (q *parent) storm(begun time.Time) {
	runtime.LockOSThread() // Pdeathsig goes by the thread
	// The two that start workers are to be heard among many that are busy; the workers take it back.
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
	var nextKill, nextStop, nextShow time.Time
	for {
		now := time.Now()
		if n := q.violated(); n > 0 {
			if q.res.First == 0 {
				q.res.First = now.Sub(begun).Seconds()
			}
			if q.enough != 0 && n >= q.enough {
				return
			}
		}
		switch {
		case q.kills > 0 && q.res.Kills >= q.kills && (q.duration == 0 || now.Sub(begun) >= q.duration),
			q.kills == 0 && now.Sub(begun) >= q.duration,
			q.a.ids.Load() > maxSegments*9/10:
			return
		}
		for _, index := range q.reap() {
			q.start(index)
		}
		for _, c := range q.children {
			if c == nil {
				continue
			}
			q.tend(c, now)
		}
		if nextKill.IsZero() || now.Sub(nextKill) > time.Second {
			nextKill = now
		}
		for ; now.After(nextKill); nextKill = nextKill.Add(time.Duration(1+q.rng.IntN(2*q.killMs*1000)) * time.Microsecond) {
			if c := q.children[q.rng.IntN(len(q.children))]; c != nil && q.a.workers[c.index].beat.Load() > 0 && !c.doomed && q.a.workers[c.index].doomed.Load() == 0 {
				q.res.ByParent++
				q.kill(c)
			}
		}
		if q.stopMs > 0 && now.After(nextStop) {
			nextStop = now.Add(time.Duration(q.rng.IntN(2*q.stopMs)) * time.Millisecond)
			if c := q.children[q.rng.IntN(len(q.children))]; c != nil && c.resume.IsZero() && !c.doomed {
				if syscall.Kill(c.pid, syscall.SIGSTOP) == nil {
					q.res.Stops++
					c.resume = now.Add(time.Duration(q.rng.Int64N(int64(q.stopMax))))
				}
			}
		}
		if now.After(nextShow) && q.show != nil {
			nextShow = now.Add(500 * time.Millisecond)
			q.show(q)
		}
		time.Sleep(500 * time.Microsecond)
	}
}

const patience = 30 * time.Second

// tend does for one worker what it waits for.
func (q *parent) tend(c *child, now time.Time) {
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
	if b := r.beat.Load(); b != c.beat {
		c.beat, c.since = b, now
	} else if r.born.Load() == 0 && c.forked && now.Sub(c.since) > 5*time.Second && !c.doomed {
		q.res.Stillborn++
		q.kill(c)
	} else if now.Sub(c.since) > patience && !c.doomed {
		q.violate(hung, "worker %d, after %d cycles", c.index, b)
		_ = syscall.Kill(c.pid, syscall.SIGQUIT) // its stacks go to standard error
		time.Sleep(200 * time.Millisecond)
		q.kill(c)
	}
}

// reap takes in who has ended.
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
		q.a.workers[i].clear()
		q.children[i] = nil
		ended = append(ended, i)
	}
}

// calm lets everybody leave in peace.
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
		for _, c := range q.children {
			if c != nil {
				q.tend(c, time.Now())
			}
		}
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
				q.violate(hung, "worker %d does not leave", c.index)
				_ = syscall.Kill(c.pid, syscall.SIGQUIT)
				time.Sleep(200 * time.Millisecond)
				q.kill(c)
			} else {
				q.tend(c, time.Now())
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

// finish checks that nothing is left but what was kept, and that nothing of that is lost.
func (q *parent) finish() {
	w := newWorker(q.a, maxWorkers-1, q.base)
	w.mortal = false
	w.reclaim()
	dir := filepath.Join(q.base, "seg")
	found := map[uint64]bool{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		q.violate(unexpected, "%v", err)
	}
	for _, e := range entries {
		info, err := shmem.Stat(dir, e.Name())
		if err != nil || info.State != shmem.Kept {
			q.violate(leaked, "%s: %v %v", e.Name(), info.State, err)
			continue
		}
		var n int
		_, _ = fmt.Sscanf(e.Name(), "name-%d", &n)
		at := &attachment{name: n, h: &w.r.at[0], epoch: q.a.removals[n].Load(), quiet: true}
		o := &shmem.Options{Dir: dir}
		seg, err := shmem.AttachSegment(e.Name(), o)
		if err != nil {
			q.violate(unexpected, "attaching to what was kept: %v", err)
			continue
		}
		at.seg = seg
		if w.isRaw(n) {
			at.check = func() string { return "" }
			at.box = w.rawBox(at, seg)
		} else {
			box, err := shmem.BoxOf[value](seg)
			if err != nil {
				q.violate(unexpected, "the box of what was kept: %v", err)
				continue
			}
			at.box, at.check = true, box.Value().wrong
			at.id = box.Value().ID.Load() % maxSegments
		}
		found[at.id] = true
		w.settle(at)
		w.look(at)
		w.own(at)
		w.look(at)
		w.depth = depths // its Drop opens nothing
		begun := time.Now()
		q.a.segments[at.id].ended.Store(1)
		at.h.own.Store(0)
		at.h.id.Store(0)
		w.expect("Close", seg.Close(), begun)
		w.depth = 0
		if n := q.a.segments[at.id].drops.Load(); n != 1 && at.id != 0 {
			q.violate(dutyUndone, "segment %d: %d drops at the end", at.id, n)
		}
	}
	for n := range int(q.names) {
		if k := q.a.kept[n].Load(); k != 0 && !found[k] && w.keptStill(k, n) {
			q.violate(lostKept, "name-%d: segment %d, at the end", n, k)
		}
	}
	if entries, _ = os.ReadDir(dir); len(entries) > 0 {
		q.violate(leaked, "%v after everything was closed", entries)
	}
	if q.tmpfs != 0 {
		if m, err := sys.MountOf(dir); err != nil || m.Avail != m.Size {
			q.violate(leaked, "%d of %d bytes are free in an empty tmpfs (%v)", m.Avail, m.Size, err)
		}
	}
}

var _ = step.Flaws
