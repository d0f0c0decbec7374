//go:build linux

// Command killstress lets many processes use the locks of psync and the waiting below them in one
// segment, while each is killed at random: from outside, and by itself at random steps of the protocols.
// It checks that what the locks guard is never seen half changed without ErrOwnerDied, that no
// permit is lost or given twice, and that nobody waits in vain. It exits with 1 if anything was wrong.
//
//	go run ./tests/killstress -for 60s
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
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/psync"
)

const permits = 3

type pair struct{ a, b atomic.Uint64 } // equal, unless somebody is inside

type shared struct {
	mu   psync.Mutex
	rw   psync.RWMutex
	sem  psync.Semaphore
	once [4]psync.Once

	word, armed [8]atomic.Uint32

	byMu, byRW, byBox pair
	cells             [permits]atomic.Uint32
	ran               [4]atomic.Uint32

	stop                    atomic.Uint32
	torn, over, lost, stuck atomic.Uint64 // what was wrong
	ops, died, suicides     atomic.Uint64
	slowest                 [5]atomic.Int64
}

var (
	length  = flag.Duration("for", 5*time.Second, "how long")
	procs   = flag.Int("procs", 8, "processes at a time")
	every   = flag.Duration("every", 3*time.Millisecond, "a process is killed as often, on average")
	suicide = flag.Int("suicide", 3000, "a process kills itself at one in so many steps; 0: never")
	gos     = flag.Int("goroutines", 4, "goroutines a process")
	worker  = flag.String("worker", "", "for the program's own use")
)

func main() {
	flag.Parse()
	var err error
	if *worker != "" {
		err = work(*worker)
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
	ended := make(chan int)
	cmds := make([]*exec.Cmd, *procs)
	begin := func(i int) error {
		c := exec.Command(os.Args[0], "-worker", path, "-suicide", fmt.Sprint(*suicide), "-goroutines", fmt.Sprint(*gos))
		c.Stderr = os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			return err
		}
		cmds[i] = c
		go func() { _ = c.Wait(); ended <- i }()
		return nil
	}
	for i := range cmds {
		if err := begin(i); err != nil {
			return err
		}
	}
	kills, ends := 0, 0
	end, tick := time.After(*length), time.NewTicker(*every)
loop:
	for {
		select {
		case i := <-ended:
			ends++
			if err := begin(i); err != nil {
				return err
			}
		case <-tick.C:
			_ = cmds[rand.IntN(len(cmds))].Process.Kill()
			kills++
		case <-end:
			break loop
		}
	}
	v.stop.Store(1)
	for range cmds {
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			v.stuck.Add(1)
			fmt.Println("a process does not end")
			for _, c := range cmds {
				_ = c.Process.Signal(syscall.SIGQUIT)
			}
			time.Sleep(time.Second)
			return errors.New("stuck")
		}
	}
	fmt.Printf("%v: %d operations, %d processes ended by a kill (%d sent, %d by themselves), %d times a dead holder was met\n",
		*length, v.ops.Load(), ends, kills, v.suicides.Load(), v.died.Load())
	fmt.Printf("the slowest: mutex %v, rwmutex %v, semaphore %v, box lock %v, once %v\n",
		time.Duration(v.slowest[0].Load()), time.Duration(v.slowest[1].Load()), time.Duration(v.slowest[2].Load()),
		time.Duration(v.slowest[3].Load()), time.Duration(v.slowest[4].Load()))
	fmt.Printf("wrong: %d torn values, %d permits too many, %d wake-ups lost, %d stuck\n", v.torn.Load(), v.over.Load(), v.lost.Load(), v.stuck.Load())
	if n, err := v.sem.Available(); n != permits || err != nil {
		return fmt.Errorf("%d permits are left of %d: %v", n, permits, err)
	}
	if v.torn.Load()+v.over.Load()+v.lost.Load()+v.stuck.Load() != 0 {
		return errors.New("something was wrong")
	}
	return nil
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

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
	box := robust.NewShared(s.M)
	var wg sync.WaitGroup
	for range *gos {
		wg.Go(func() {
			for v.stop.Load() == 0 {
				kind := rand.IntN(6)
				start := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
				var err error
				switch kind {
				case 0:
					err = v.mutex(ctx)
				case 1:
					err = v.rwmutex(ctx)
				case 2:
					err = v.semaphore(ctx, s)
				case 3:
					err = v.boxLock(ctx, s, box)
				case 4:
					err = v.runOnce(ctx)
				case 5:
					v.wait(s)
				}
				cancel()
				v.ops.Add(1)
				if err != nil {
					fmt.Fprintf(os.Stderr, "operation %d: %v\n", kind, err)
					v.stuck.Add(1)
				}
				if kind < 5 {
					d := int64(time.Since(start))
					for old := v.slowest[kind].Load(); d > old && !v.slowest[kind].CompareAndSwap(old, d); old = v.slowest[kind].Load() {
					}
				}
			}
		})
	}
	wg.Wait()
	return nil
}

func (p *pair) check(v *shared) {
	if a, b := p.a.Load(), p.b.Load(); a != b {
		v.torn.Add(1)
	}
}

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

func (p *pair) repair() error { p.b.Store(p.a.Load()); return nil }

func (v *shared) mutex(ctx context.Context) error {
	for {
		err := v.mu.Lock(ctx)
		if errors.Is(err, psync.ErrOwnerDied) {
			v.died.Add(1)
			if err := v.mu.Recover(ctx, v.byMu.repair); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		v.byMu.change(v)
		return v.mu.Unlock()
	}
}

func (v *shared) rwmutex(ctx context.Context) error {
	lock, unlock, f := v.rw.RLock, v.rw.RUnlock, v.byRW.check
	if rand.IntN(3) == 0 {
		lock, unlock, f = v.rw.Lock, v.rw.Unlock, v.byRW.change
	}
	for {
		err := lock(ctx)
		if errors.Is(err, psync.ErrOwnerDied) {
			v.died.Add(1)
			if err := v.rw.Recover(ctx, v.byRW.repair); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		f(v)
		return unlock()
	}
}

func (v *shared) semaphore(ctx context.Context, s *waittest.Seg) error {
	if err := v.sem.Acquire(ctx, 1); err != nil {
		return err
	}
	// A cell for each permit: there is always one that is empty or a dead one's. A cell is left
	// before the permit is.
	mine := -1
	for i := range v.cells {
		c := &v.cells[i]
		for id := c.Load(); id == 0 || !s.M.Peers.Alive(format.ID(id)); id = c.Load() {
			if c.CompareAndSwap(id, uint32(s.Self)) {
				mine = i
				break
			}
		}
		if mine >= 0 {
			break
		}
	}
	if mine < 0 {
		v.over.Add(1)
	}
	if rand.IntN(20) == 0 {
		time.Sleep(50 * time.Microsecond)
	}
	if mine >= 0 {
		v.cells[mine].Store(0)
	}
	return v.sem.Release(1)
}

func (v *shared) boxLock(ctx context.Context, s *waittest.Seg, box *robust.Shared) error {
	if rand.IntN(3) > 0 {
		for {
			died, err := box.RLock(ctx)
			if err != nil {
				return err
			}
			if !died {
				break
			}
			if err := v.boxWrite(ctx, box, func() {}); err != nil {
				return err
			}
		}
		v.byBox.check(v)
		box.RUnlock()
		return nil
	}
	return v.boxWrite(ctx, box, func() { v.byBox.change(v) })
}

func (v *shared) boxWrite(ctx context.Context, box *robust.Shared, f func()) error {
	died, err := box.Lock(ctx)
	if err != nil {
		return err
	}
	if died {
		v.died.Add(1)
		_ = v.byBox.repair()
	}
	f()
	return box.Unlock()
}

func (v *shared) runOnce(ctx context.Context) error {
	i := rand.IntN(len(v.once))
	return v.once[i].Do(ctx, func() error {
		v.ran[i].Add(1)
		if rand.IntN(2) == 0 {
			return nil
		}
		die()
		return nil
	})
}

// wait waits for a word to change, or changes it. Whoever waits is woken long before its time limit.
func (v *shared) wait(s *waittest.Seg) {
	i := rand.IntN(len(v.word))
	if rand.IntN(2) == 0 {
		v.word[i].Add(1)
		wait.Wake(s.M, &v.armed[i])
		return
	}
	limit := time.Duration(rand.IntN(5000)) * time.Microsecond
	long := rand.IntN(4) == 0
	if long {
		limit = 4 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	old := v.word[i].Load()
	err := wait.Until(ctx, s.M, &v.armed[i], func() bool { return v.word[i].Load() != old || v.stop.Load() != 0 }, wait.Options{})
	if err != nil && long && v.word[i].Load() != old && v.stop.Load() == 0 {
		v.lost.Add(1)
	}
}
