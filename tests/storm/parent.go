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
	"strings"
	"syscall"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/queue"
)

// A plan is what one run does.
type plan struct {
	processes int
	limit     time.Duration
	every     time.Duration // between kills by the parent, on average
	first     bool          // end with the first violation
}

// A result is what came of it.
type result struct {
	took                           time.Duration
	started, killed, exits, polite int
	violations                     uint64
	text                           string
}

func (r *result) String() string {
	return fmt.Sprintf("%.1f s: %d processes: %d were killed, %d left without closing, %d closed; "+
		"%d violations\n%s", r.took.Seconds(), r.started, r.killed, r.exits, r.polite, r.violations,
		r.text)
}

// A parent starts the processes, and kills some. One goroutine uses it.
type parent struct {
	plan
	b    *books
	base string
	log  string
	exe  string
	pids []int // by index; 0: none
	beat []uint64
	seen []time.Time // when beat has changed
	res  result
}

// patience is how long a process may do nothing.
const patience = 90 * time.Second

// run runs a storm.
func run(p plan) (*result, error) {
	base, err := os.MkdirTemp(sys.DefaultDir, "storm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(base)
	q := &parent{
		plan: p, base: base, log: filepath.Join(base, "log"),
		pids: make([]int, p.processes), beat: make([]uint64, p.processes),
		seen: make([]time.Time, p.processes),
	}
	if err := errors.Join(os.Mkdir(filepath.Join(base, "seg"), 0o700),
		os.WriteFile(q.log, nil, 0o600)); err != nil {
		return nil, err
	}
	if q.exe, err = filepath.EvalSymlinks("/proc/self/exe"); err != nil {
		return nil, err
	}
	if q.b, err = openBooks(filepath.Join(base, "books"), true); err != nil {
		return nil, err
	}
	began := time.Now()
	runtime.LockOSThread() // Pdeathsig is sent when the thread that started a process ends
	defer runtime.UnlockOSThread()
	q.storm()
	q.calm()
	q.audit()
	q.res.took = time.Since(began)
	q.sum()
	return &q.res, nil
}

// start starts a process.
func (q *parent) start(i int) {
	p := &q.b.processes[i]
	for g := range p.at {
		p.at[g].id.Store(0)
		p.at[g].turn.Add(1)
	}
	p.doomed.Store(0)
	args := []string{"storm", childArg, strconv.Itoa(i), q.base}
	pid, err := syscall.ForkExec(q.exe, args, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		violate(q.b, q.log, unexpected, "starting a process: %v", err)
		return
	}
	q.pids[i], q.seen[i] = pid, time.Now()
	q.res.started++
}

// storm starts processes and kills them until the time is over.
func (q *parent) storm() {
	end := time.Now().Add(q.limit)
	next := time.Now()
	for time.Now().Before(end) && (!q.first || q.violated() == 0) &&
		q.b.messages.Load() < maxMessages-10000 {
		q.reap()
		for i, pid := range q.pids {
			if pid == 0 {
				q.start(i)
			}
		}
		if time.Now().After(next) {
			next = time.Now().Add(time.Duration(rand.Int64N(2 * int64(q.every))))
			q.killOne()
		}
		q.watch()
		time.Sleep(time.Millisecond)
	}
}

func (q *parent) killOne() {
	i := rand.IntN(len(q.pids))
	if q.pids[i] != 0 && q.b.processes[i].beat.Load() != q.beat[i] {
		q.kill(i)
	}
}

// kill kills a process that is not reaped yet: its pid cannot be another one's.
func (q *parent) kill(i int) {
	q.b.processes[i].doomed.Store(1)
	_ = syscall.Kill(q.pids[i], syscall.SIGKILL)
}

// watch reports processes that hang, and kills them.
func (q *parent) watch() {
	for i, pid := range q.pids {
		switch b := q.b.processes[i].beat.Load(); {
		case pid == 0:
		case b != q.beat[i]:
			q.beat[i], q.seen[i] = b, time.Now()
		case time.Since(q.seen[i]) > patience:
			violate(q.b, q.log, hung, "process %d", i)
			q.kill(i)
			q.seen[i] = time.Now()
		}
	}
}

// reap collects processes that have ended.
func (q *parent) reap() {
	for i, pid := range q.pids {
		if pid == 0 {
			continue
		}
		var ws syscall.WaitStatus
		if got, err := syscall.Wait4(pid, &ws, syscall.WNOHANG, nil); err != nil || got != pid {
			continue
		}
		q.pids[i] = 0
		doomed := q.b.processes[i].doomed.Load() != 0
		switch {
		case ws.Signaled() && ws.Signal() == syscall.SIGKILL && doomed:
			q.res.killed++
		case ws.Exited() && ws.ExitStatus() == exitCode && doomed:
			q.res.exits++
		case ws.Exited() && ws.ExitStatus() == 0:
			q.res.polite++
		default:
			violate(q.b, q.log, unexpected, "process %d ended: %v", i, ws)
		}
	}
}

// calm ends the deaths, and lets all processes leave.
func (q *parent) calm() {
	q.b.calm.Store(1)
	q.b.stop.Store(1)
	for left := true; left; time.Sleep(time.Millisecond) {
		q.reap()
		q.watch()
		left = false
		for _, pid := range q.pids {
			left = left || pid != 0
		}
	}
}

// audit receives what is left in the queues, and checks the books and the directory.
func (q *parent) audit() {
	dir := filepath.Join(q.base, "seg")
	c := &child{b: q.b, p: &process{}, dir: dir, log: q.log, index: -1}
	for n, k := range names {
		if k == aQueue {
			c.drain(n)
		}
	}
	for m := range min(q.b.messages.Load()+1, maxMessages) {
		if q.b.ledger[m].Load() == sent {
			violate(q.b, q.log, lostMessage, "message %d", m)
		}
	}
	for _, err := range shmem.Reclaim(dir) {
		c.check("Reclaim", err)
	}
	entries, err := os.ReadDir(dir)
	c.check("ReadDir", err)
	for _, e := range entries {
		info, err := shmem.Stat(dir, e.Name())
		violate(q.b, q.log, leftover, "%s: %v %v", e.Name(), info.State, err)
	}
}

// drain receives all messages of a queue that no process is attached to.
func (c *child) drain(n int) {
	info, err := shmem.Stat(c.dir, nameOf(n))
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.State == shmem.Garbage {
		return
	}
	q, err := queue.Attach[uint64](nameOf(n), &queue.Options{Dir: c.dir})
	if !c.check("queue.Attach", err) {
		return
	}
	for range info.Unread {
		if !c.receive(q, patience) {
			c.violate(lostMessage, "of %d messages of %s not all came", info.Unread, nameOf(n))
			break
		}
	}
	c.check("Close", q.Close())
}

func (q *parent) violated() (n uint64) {
	for i := range q.b.violations {
		n += q.b.violations[i].Load()
	}
	return n
}

// sum takes the counts and the log into the result.
func (q *parent) sum() {
	var s strings.Builder
	for i, name := range counterNames {
		fmt.Fprintf(&s, "  %d %s", q.b.counts[i].Load(), name)
	}
	s.WriteByte('\n')
	for i, name := range violationNames {
		if n := q.b.violations[i].Load(); n > 0 {
			fmt.Fprintf(&s, "  VIOLATION: %s: %d\n", name, n)
		}
	}
	if log, _ := os.ReadFile(q.log); len(log) > 0 {
		lines := strings.SplitAfter(string(log), "\n")
		for _, l := range lines[:min(len(lines), 20)] {
			s.WriteString("  " + l)
		}
	}
	q.res.violations, q.res.text = q.violated(), s.String()
}
