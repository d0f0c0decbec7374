//go:build linux

// Command killstress has many processes use the locks of psync, and the waiting below them, in one
// segment, and kills them at random: from outside, and by themselves at random steps of the
// protocols. It checks that no value under a lock is seen half changed without ErrOwnerDied, that
// no permit is lost or granted twice, that no waiter misses a wake-up, and that no waiter sees a
// lock stand still for longer than -within, whichever processes died. It exits with 1 on a
// violation.
//
//	go run ./tests/killstress -for 60s
//	go run ./tests/killstress -for 1h -kills 20000 -within 500ms
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/psync"
)

const permits = 3

// A pair is guarded by a lock. Its words are equal while no process is inside.
type pair struct{ a, b atomic.Uint64 }

// shared is the memory of the segment.
type shared struct {
	mu   psync.Mutex
	rw   psync.RWMutex
	sem  psync.Semaphore
	once [4]psync.Once

	word, armed [8]atomic.Uint32 // word is waited for, armed says that it is

	byMu, byRW, byBox pair
	cells             [permits]atomic.Uint32 // ids of those that have a permit
	ran               [4]atomic.Uint32       // calls of the functions of once

	stop atomic.Uint32

	// Violations.
	torn  atomic.Uint64 // pairs with different words
	over  atomic.Uint64 // permits too many
	lost  atomic.Uint64 // wake-ups that a waiter missed
	stuck atomic.Uint64 // calls that failed, processes that did not end

	// Counts.
	ops, died, suicides atomic.Uint64
	slowest             [kinds]atomic.Int64 // nanoseconds

	progress [kinds]atomic.Int64  // uptime in ns when a process last got, or was about to free, it
	still    [kinds]atomic.Int64  // ns, the longest time that a waiter saw no progress
	late     [kinds]atomic.Uint64 // such times of more than wait.Backstop
}

var (
	length = flag.Duration("for", 5*time.Second, "how long")
	procs  = flag.Int("procs", 8, "processes at a time")
	kills  = flag.Int("kills", 0, "end after so many processes have died; 0: after -for")
	every  = flag.Duration("every", 3*time.Millisecond, "time between kills")
	within = flag.Duration("within", 2*time.Second,
		"the longest time that a lock may stand still while a process waits for it; 0: any")
	suicide = flag.Int("suicide", 3000,
		"a process kills itself at one in so many steps; 0: never")
	goroutines = flag.Int("goroutines", 4, "goroutines of each process")
	workerFlag = flag.String("worker", "", "for the program's own use: the segment of a worker")
)

func main() {
	flag.Parse()
	var err error
	if *workerFlag != "" {
		err = work(*workerFlag)
	} else {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "killstress:", err)
		os.Exit(1)
	}
}

func open(path string) (*waittest.Seg, *shared, error) {
	s, err := waittest.Attach(path, waittest.ReadWrite)
	if err != nil {
		return nil, nil, err
	}
	v, err := mem.At[shared](s.M, 0)
	return s, v, err
}

// run is the parent: it starts the processes, kills them, and sums up.
func run() error {
	dir, err := os.MkdirTemp("/dev/shm", "killstress")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "seg")
	if err := waittest.Create(path, mem.SizeOf[shared](), 256); err != nil {
		return err
	}
	_, v, err := open(path)
	if err != nil {
		return err
	}
	if err := v.sem.SetLimit(permits); err != nil {
		return err
	}
	c := &crowd{path: path, cmds: make([]*exec.Cmd, *procs), ended: make(chan int)}
	for i := range c.cmds {
		if err := c.start(i); err != nil {
			return err
		}
	}
	if err := c.killLoop(); err != nil {
		return err
	}
	v.stop.Store(1)
	if !c.wait() {
		v.stuck.Add(1)
		return errors.New("a process does not end")
	}
	return summarise(v, c)
}

// A crowd is the worker processes, as the parent sees them.
type crowd struct {
	path        string
	cmds        []*exec.Cmd
	ended       chan int // indices of processes that have ended
	kills, ends int
}

// start starts the process of an index.
func (c *crowd) start(i int) error {
	cmd := exec.Command(os.Args[0], "-worker", c.path,
		"-suicide", fmt.Sprint(*suicide), "-goroutines", fmt.Sprint(*goroutines))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.cmds[i] = cmd
	go func() { _ = cmd.Wait(); c.ended <- i }()
	return nil
}

// killLoop kills a process at every tick and starts another for each that has ended, until -for is
// over or -kills processes have ended.
func (c *crowd) killLoop() error {
	end, tick := time.After(*length), time.NewTicker(*every)
	defer tick.Stop()
	for {
		select {
		case i := <-c.ended:
			c.ends++
			if err := c.start(i); err != nil || *kills > 0 && c.ends >= *kills {
				return err
			}
		case <-tick.C:
			_ = c.cmds[rand.IntN(len(c.cmds))].Process.Kill()
			c.kills++
		case <-end:
			return nil
		}
	}
}

// wait waits for all processes, and reports whether they end. Those that do not print their stacks.
func (c *crowd) wait() bool {
	for range c.cmds {
		select {
		case <-c.ended:
		case <-time.After(20 * time.Second):
			for _, cmd := range c.cmds {
				_ = cmd.Process.Signal(syscall.SIGQUIT)
			}
			time.Sleep(time.Second)
			return false
		}
	}
	return true
}

func summarise(v *shared, c *crowd) error {
	slowest := func(k kind) time.Duration { return time.Duration(v.slowest[k].Load()) }
	fmt.Printf("%v: %d operations, %d processes ended by a kill (%d sent, %d by themselves), ",
		*length, v.ops.Load(), c.ends, c.kills, v.suicides.Load())
	fmt.Printf("%d dead holders met\n", v.died.Load())
	fmt.Printf("the slowest: mutex %v, rwmutex %v, semaphore %v, box lock %v, once %v\n",
		slowest(mutex), slowest(rwmutex), slowest(semaphore), slowest(boxLock), slowest(once))
	standstill := v.printStill()
	fmt.Printf("violations: %d torn values, %d permits too many, %d wake-ups lost, %d stuck\n",
		v.torn.Load(), v.over.Load(), v.lost.Load(), v.stuck.Load())
	if n, err := v.sem.Available(); n != permits || err != nil {
		return fmt.Errorf("%d permits are left of %d: %v", n, permits, err)
	}
	if v.torn.Load()+v.over.Load()+v.lost.Load()+v.stuck.Load() != 0 {
		return errors.New("there are violations")
	}
	if *within > 0 && standstill > *within {
		return fmt.Errorf("a lock stood still for %v, more than -within %v", standstill, *within)
	}
	return nil
}

// printStill prints how long locks stood still while a process waited for them, and returns the
// longest time. It is more than the time from the death of a process to the progress of the next
// one: it begins with the last progress before the death.
func (v *shared) printStill() (longest time.Duration) {
	fmt.Printf("the longest without progress while a process waited (how often more than %v):",
		wait.Backstop)
	for k, name := range names {
		d := time.Duration(v.still[k].Load())
		longest = max(longest, d)
		fmt.Printf(" %s %v (%d)", name, d.Round(time.Microsecond), v.late[k].Load())
	}
	fmt.Println()
	return longest
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// A kind is what an operation uses.
type kind int

const (
	mutex kind = iota
	rwmutex
	semaphore
	boxLock
	once
	waiting
	kinds
)

// names of what printStill prints.
var names = []string{
	mutex: "mutex", rwmutex: "rwmutex", semaphore: "semaphore", boxLock: "box lock", once: "once",
}

// A worker is what the goroutines of one process share.
type worker struct {
	*shared
	s   *waittest.Seg
	box *robust.Shared
}

// work is the main function of a worker process.
func work(path string) error {
	s, v, err := open(path)
	if err != nil {
		return err
	}
	if *suicide > 0 {
		step.Hook(func(step.Point) {
			if rand.IntN(*suicide) == 0 {
				v.suicides.Add(1)
				die()
			}
		})
	}
	w := &worker{v, s, robust.NewShared(s.M)}
	var wg sync.WaitGroup
	for range *goroutines {
		wg.Go(func() {
			for v.stop.Load() == 0 {
				w.operate(kind(rand.IntN(int(kinds))))
			}
		})
	}
	wg.Wait()
	return nil
}

// operate does one operation, and notes how long it took and whether it failed.
func (w *worker) operate(k kind) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	var err error
	switch k {
	case mutex:
		err = w.mutex(ctx)
	case rwmutex:
		err = w.rwmutex(ctx)
	case semaphore:
		err = w.semaphore(ctx)
	case boxLock:
		err = w.boxLock(ctx)
	case once:
		err = w.runOnce(ctx)
	case waiting:
		w.wait()
	}
	w.ops.Add(1)
	if err != nil {
		fmt.Fprintf(os.Stderr, "operation %d: %v\n", k, err)
		w.stuck.Add(1)
	}
	if k == waiting {
		return // it takes as long as it waits
	}
	took := int64(time.Since(began))
	for old := w.slowest[k].Load(); took > old; old = w.slowest[k].Load() {
		if w.slowest[k].CompareAndSwap(old, took) {
			break
		}
	}
}

// get calls lock, which waits, and notes how long none made progress meanwhile. To be told of a
// death is progress.
func (w *worker) get(k kind, lock func() error) error {
	began := int64(uptime())
	err := lock()
	now := int64(uptime())
	still := now - max(w.progress[k].Swap(now), began)
	if still > int64(wait.Backstop) {
		w.late[k].Add(1)
	}
	for old := w.still[k].Load(); still > old; old = w.still[k].Load() {
		if w.still[k].CompareAndSwap(old, still) {
			break
		}
	}
	return err
}

// free notes that what was locked is about to be freed, and calls unlock.
func (w *worker) free(k kind, unlock func() error) error {
	w.progress[k].Store(int64(uptime()))
	return unlock()
}

// uptime is the same in all processes.
func uptime() time.Duration { return sys.Uptime(time.Now()) }

// check counts a torn pair.
func (p *pair) check(v *shared) {
	if a, b := p.a.Load(), p.b.Load(); a != b {
		v.torn.Add(1)
	}
}

// change changes both words. The process may die in between.
func (p *pair) change(v *shared) {
	p.check(v)
	p.a.Add(1)
	if rand.IntN(2000) == 0 {
		die()
	}
	if rand.IntN(50) == 0 {
		time.Sleep(50 * time.Microsecond)
	}
	p.b.Add(1)
}

// repair makes a torn pair whole.
func (p *pair) repair() error { p.b.Store(p.a.Load()); return nil }

func (w *worker) mutex(ctx context.Context) error {
	for {
		err := w.get(mutex, func() error { return w.mu.Lock(ctx) })
		if errors.Is(err, psync.ErrOwnerDied) {
			w.died.Add(1)
			if err := w.mu.Recover(ctx, w.byMu.repair); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		w.byMu.change(w.shared)
		return w.free(mutex, w.mu.Unlock)
	}
}

func (w *worker) rwmutex(ctx context.Context) error {
	lock, unlock, f := w.rw.RLock, w.rw.RUnlock, w.byRW.check
	if rand.IntN(3) == 0 {
		lock, unlock, f = w.rw.Lock, w.rw.Unlock, w.byRW.change
	}
	for {
		err := w.get(rwmutex, func() error { return lock(ctx) })
		if errors.Is(err, psync.ErrOwnerDied) {
			w.died.Add(1)
			if err := w.rw.Recover(ctx, w.byRW.repair); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		f(w.shared)
		return w.free(rwmutex, unlock)
	}
}

func (w *worker) semaphore(ctx context.Context) error {
	n := 1
	if rand.IntN(8) == 0 {
		n = permits // it is served beside many that want one
	}
	err := w.get(semaphore, func() error { return w.sem.Acquire(ctx, uint32(n)) })
	if err != nil {
		return err
	}
	var mine []*atomic.Uint32
	for range n {
		if c := w.takeCell(); c != nil {
			mine = append(mine, c)
		} else {
			w.over.Add(1)
		}
	}
	if rand.IntN(20) == 0 {
		time.Sleep(50 * time.Microsecond)
	}
	for _, c := range mine {
		c.Store(0)
	}
	return w.free(semaphore, func() error { return w.sem.Release(uint32(n)) })
}

// takeCell takes a cell that is empty or a dead process's. There is one cell for each permit, and a
// cell is emptied before its permit is released: without a free cell there are too many permits,
// and takeCell returns nil.
func (w *worker) takeCell() *atomic.Uint32 {
	for {
		var holders [permits]format.ID
		for i := range w.cells {
			c := &w.cells[i]
			id := c.Load()
			for ; id == 0 || !w.s.M.Peers.Alive(format.ID(id)); id = c.Load() {
				if c.CompareAndSwap(id, uint32(w.s.Self)) {
					return c
				}
			}
			holders[i] = format.ID(id)
		}
		if !w.seemedAlive(holders[:]) {
			return nil
		}
	}
}

// seemedAlive reports whether one of holders, which were alive, is dead a millisecond later. While
// a process has locked a free slot, and not yet written its record, the former attachment in the
// slot seems alive again. A holder that has died since is taken for one of these, so that some
// permits too many are not seen.
func (w *worker) seemedAlive(holders []format.ID) bool {
	time.Sleep(time.Millisecond)
	dead := func(id format.ID) bool { return !w.s.M.Peers.Alive(id) }
	return slices.ContainsFunc(holders, dead)
}

// boxLock uses the lock of a box, which a reader that meets a dead writer takes for writing.
func (w *worker) boxLock(ctx context.Context) error {
	if rand.IntN(3) == 0 {
		return w.boxWrite(ctx, func() { w.byBox.change(w.shared) })
	}
	for {
		var died bool
		err := w.get(boxLock, func() (err error) { died, err = w.box.RLock(ctx); return err })
		if err != nil {
			return err
		}
		if !died {
			break
		}
		if err := w.boxWrite(ctx, func() {}); err != nil {
			return err
		}
	}
	w.byBox.check(w.shared)
	return w.free(boxLock, func() error { w.box.RUnlock(); return nil })
}

func (w *worker) boxWrite(ctx context.Context, f func()) error {
	var died bool
	err := w.get(boxLock, func() (err error) { died, err = w.box.Lock(ctx); return err })
	if err != nil {
		return err
	}
	if died {
		w.died.Add(1)
		_ = w.byBox.repair()
	}
	f()
	return w.free(boxLock, w.box.Unlock)
}

// runOnce calls Do of one of the Onces.
func (w *worker) runOnce(ctx context.Context) error {
	i := rand.IntN(len(w.once))
	return w.get(once, func() error {
		return w.once[i].Do(ctx, func() error { return w.runOrDie(i) })
	})
}

// runOrDie is the function of a Once: half of the calls kill the process.
func (w *worker) runOrDie(i int) error {
	w.ran[i].Add(1)
	if rand.IntN(2) == 1 {
		die()
	}
	return nil
}

// wait waits for a word to change, or changes it. A waiter with a long limit must be woken before
// it.
func (w *worker) wait() {
	i := rand.IntN(len(w.word))
	if rand.IntN(2) == 0 {
		w.word[i].Add(1)
		wait.Wake(w.s.M, &w.armed[i])
		return
	}
	limit := time.Duration(rand.IntN(5000)) * time.Microsecond
	long := rand.IntN(4) == 0
	if long {
		limit = 4 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	old := w.word[i].Load()
	ready := func() bool { return w.word[i].Load() != old || w.stop.Load() != 0 }
	err := wait.Until(ctx, w.s.M, &w.armed[i], ready, wait.Options{})
	if err != nil && long && w.word[i].Load() != old && w.stop.Load() == 0 {
		w.lost.Add(1)
	}
}
