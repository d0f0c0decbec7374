//go:build linux

// Command lostwake has processes use all that can wait, and gives up many of the waits. Waiters
// look by themselves only every minute. The processes work in short rounds, and no other call comes
// at the end of one that would wake by chance what was not woken. So a wake-up that is lost shows:
// a wait that is not given up then takes longer than 20 s, which is a violation. At some steps of
// the protocols a process naps, so that those of the others come in between. No process is killed.
// It exits with 1 on a violation.
//
//	go run ./tests/lostwake                       until 1,000,000 waits were given up
//	go run ./tests/lostwake -for 5s -procs 2
//	go run ./tests/lostwake -flaw all -for 30s    shows that the checker finds planted flaws
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/queue"
)

const permits = 3

// A value is what the processes share.
type value struct {
	Mu, CondMu psync.Mutex
	RW         psync.RWMutex
	Sem        psync.Semaphore
	Ev         psync.Event
	Cond       psync.Cond
	N          uint64 // guarded by CondMu

	Stop           atomic.Uint32
	Round, Arrived atomic.Uint64 // the round that is under way; processes that have ended it
	Done, GivenUp  atomic.Uint64 // waits
	Lost           atomic.Uint64
	Longest        atomic.Int64 // ns, of waits that were not given up
}

var (
	length  = flag.Duration("for", time.Hour, "how long, at most")
	cancels = flag.Uint64("cancels", 1_000_000, "waits that are given up, at most")
	procs   = flag.Int("procs", 4, "processes; half of them have GOMAXPROCS=1, the others 2")
	load    = flag.Int("load", 0, "goroutines that only compute, besides")
	naps    = flag.Int("naps", 100, "a process naps at one in so many steps; 0: never")
	patient = flag.Duration("patient", 20*time.Second, "for a wait that is not given up")
	flaw    = flag.String("flaw", "",
		"show that it finds these flaws of tests/replay: names separated by commas, or all")
	worker = flag.String("worker", "", "for the program's own use: the directory")
)

func main() {
	flag.Parse()
	var err error
	if *worker != "" {
		err = work(*worker)
	} else if *flaw != "" {
		err = catchFlaws()
	} else {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lostwake:", err)
		os.Exit(1)
	}
}

// A shared is what a process has open.
type shared struct {
	box   *shmem.Box[value]
	queue *queue.Queue[uint64]
	bytes *queue.Bytes
}

func open(dir string) (s shared, err error) {
	if s.box, err = shmem.Open[value]("box", &shmem.Options{Dir: dir, Slots: 16}); err != nil {
		return s, err
	}
	s.queue, err = queue.Open[uint64]("queue", &queue.Options{Dir: dir, Capacity: 4, Slots: 16})
	if err != nil {
		return s, err
	}
	s.bytes, err = queue.OpenBytes("bytes",
		&queue.BytesOptions{Dir: dir, Capacity: 4, Bytes: 256, Slots: 16})
	return s, err
}

func run() error {
	dir, err := os.MkdirTemp("/dev/shm", "lostwake")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := open(dir)
	if err != nil {
		return err
	}
	v := s.box.Value()
	if err := v.Sem.SetLimit(permits); err != nil {
		return err
	}
	for range *load {
		go func() {
			for v.Stop.Load() == 0 {
			}
		}()
	}
	var all []*exec.Cmd
	for i := range *procs {
		c, err := start(dir, i)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	began := time.Now()
	rounds := uint64(0)
	for time.Since(began) < *length && v.GivenUp.Load() < *cancels && v.Lost.Load() == 0 {
		rounds++
		v.Round.Store(rounds)
		for v.Arrived.Load() < rounds*uint64(*procs) && v.Lost.Load() == 0 {
			time.Sleep(20 * time.Microsecond)
		}
	}
	v.Stop.Store(1)
	failed := 0
	for _, c := range all {
		if c.Wait() != nil {
			failed++
		}
	}
	fmt.Printf("%v, %d processes, %d rounds: %d waits, %d given up; the longest that was not %v\n",
		time.Since(began).Round(time.Millisecond), *procs, rounds, v.Done.Load(), v.GivenUp.Load(),
		time.Duration(v.Longest.Load()))
	fmt.Printf("violations: %d wake-ups lost, %d processes failed\n", v.Lost.Load(), failed)
	if v.Lost.Load() > 0 || failed > 0 {
		return errors.New("there are violations")
	}
	return nil
}

// start starts a worker, and waits until it is ready.
func start(dir string, i int) (*exec.Cmd, error) {
	c := exec.Command("/proc/self/exe", "-worker", dir, "-naps", fmt.Sprint(*naps),
		"-patient", patient.String())
	c.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", 1+i%2))
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	_, err = bufio.NewReader(out).ReadString('\n')
	return c, err
}

var background = context.Background()
