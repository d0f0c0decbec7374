//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// A proc is a child and its place.
type proc struct {
	kind  string
	index int
	cmd   *exec.Cmd
	err   bytes.Buffer
	ended chan struct{}
	state *os.ProcessState
}

func start(kind string, index int, fuse uint64, extra ...string) (*proc, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &proc{kind: kind, index: index, ended: make(chan struct{})}
	p.cmd = exec.Command(self, append([]string{"-child", kind, "-index", strconv.Itoa(index), "-fuse", strconv.FormatUint(fuse, 10),
		"-mode", *mode, "-base", *base, "-dir", *dir, "-messages", strconv.FormatUint(*messages, 10), "-producers", strconv.Itoa(*producers),
		"-consumers", strconv.Itoa(*consumers), "-capacity", strconv.Itoa(*capacity), "-batch", strconv.Itoa(*batch)}, extra...)...)
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	p.cmd.Stderr = &p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		p.state = p.cmd.ProcessState
		close(p.ended)
	}()
	return p, nil
}

func (p *proc) killed() bool {
	ws, ok := p.state.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// stress sends, kills and checks.
func stress() error {
	*base = fmt.Sprintf("queuestress-%d", os.Getpid())
	l, err := openLedger(true)
	if err != nil {
		return err
	}
	defer l.seg.Close()
	q, err := openPipe(true)
	if err != nil {
		return err
	}
	defer q.segment().Close()
	rnd := rand.New(rand.NewPCG(*seed, 0))
	fmt.Printf("mode %s, %d producers, %d consumers, seed %d\n", *mode, *producers, *consumers, *seed)

	unsure := map[uint64]bool{} // sends that were cut off
	excused := map[uint64]bool{}
	died := 0
	fuseOf := func() uint64 {
		if *kills == 0 || died >= *kills || rnd.IntN(2) == 0 {
			return 0
		}
		return 1 + rnd.Uint64N(1<<(1+rnd.IntN(14)))
	}
	var procs []*proc
	launch := func(kind string, n int) error {
		for i := range n {
			p, err := start(kind, i, fuseOf())
			if err != nil {
				return err
			}
			procs = append(procs, p)
		}
		return nil
	}
	if err := launch("consumer", *consumers); err != nil {
		return err
	}
	if *mode == "topic" { // they have to be there first to get all
		time.Sleep(200 * time.Millisecond)
	}
	if err := launch("producer", *producers); err != nil {
		return err
	}
	began := time.Now()
	said := began
	// reap notes what was at stake, and starts the next one.
	reap := func(i int) error {
		p := procs[i]
		if !p.killed() {
			if p.state.Success() {
				procs[i] = nil
				return nil
			}
			return fmt.Errorf("%s %d: %v\n%s", p.kind, p.index, p.state, p.err.String())
		}
		died++
		if p.kind == "producer" {
			w := &l.Producer[p.index]
			for s := w.Done.Load(); s < w.Intent.Load(); s++ {
				unsure[entry(0, p.index, s)] = true
			}
			w.Done.Store(w.Intent.Load())
		} else {
			h := &l.Consumer[p.index].Hands[0]
			if v := h.Load(); v != 0 {
				excused[v&^(15<<60)] = true
				h.Store(0)
			}
		}
		next, err := start(p.kind, p.index, fuseOf())
		procs[i] = next
		return err
	}
	left := func(kind string) (n int) {
		for _, p := range procs {
			if p != nil && p.kind == kind {
				n++
			}
		}
		return n
	}
	sweep := func() error {
		for i, p := range procs {
			if p == nil {
				continue
			}
			select {
			case <-p.ended:
				if err := reap(i); err != nil {
					return err
				}
			default:
			}
		}
		return nil
	}
	got := func() (n uint64) {
		for i := range l.Consumer {
			n += l.Consumer[i].Got.Load()
		}
		return n
	}
	lastGot, lastMove := uint64(0), began
	watch := func() error {
		if n := got(); n != lastGot {
			lastGot, lastMove = n, time.Now()
		} else if time.Since(lastMove) > 30*time.Second {
			for _, p := range procs {
				if p != nil {
					_ = p.cmd.Process.Signal(syscall.SIGQUIT)
					<-p.ended
					fmt.Printf("%s %d:\n%s\n", p.kind, p.index, p.err.String())
				}
			}
			return errors.New("nothing has been received for 30 s")
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			s, sk, ag := q.stats()
			fmt.Printf("%v: received %d, sent %d, killed %d, skipped %d, given back %d\n", time.Since(began).Round(time.Second), lastGot, s, died, sk, ag)
		}
		return nil
	}
	for left("producer") > 0 && time.Since(began) < *duration && (*kills == 0 || died < *kills) {
		time.Sleep(time.Duration(rnd.IntN(6000)) * time.Microsecond)
		if err := errors.Join(sweep(), watch()); err != nil {
			return err
		}
		if died < *kills {
			if p := procs[rnd.IntN(len(procs))]; p != nil && rnd.IntN(2) == 0 {
				_ = p.cmd.Process.Kill()
				<-p.ended
			}
		}
	}
	l.Stop.Store(1)
	for phase := range 2 {
		for left([]string{"producer", "consumer"}[phase]) > 0 {
			time.Sleep(time.Millisecond)
			if err := errors.Join(sweep(), watch()); err != nil {
				return err
			}
		}
		if err := q.end(); err != nil {
			return err
		}
	}
	took := time.Since(began)

	// The account.
	var sent, lost, arrived uint64
	for p := range *producers {
		n := l.Producer[p].Intent.Load()
		sent += n
		for s := range n {
			if *mode == "topic" {
				break
			}
			if l.has(p, s) {
				arrived++
			} else if !unsure[entry(0, p, s)] {
				lost++
			}
		}
	}
	var doubles, lates, gaps, faults uint64
	logged := l.LogNext.Load()
	for i := range min(logged, logLen) {
		e := l.Log[i].Load()
		id := e &^ (15 << 60)
		switch e >> 60 {
		case double:
			if doubles++; !excused[id] {
				faults++
			}
		case late:
			lates++
		case gap:
			if gaps++; !unsure[id] {
				faults++
			}
		}
	}
	_, skipped, again := q.stats()
	fmt.Printf("%v: tried %d, received %d, arrived %d, in doubt %d, killed %d, skipped %d, given back %d\n",
		took.Round(time.Millisecond), sent, got(), arrived, len(unsure), died, skipped, again)
	fmt.Printf("lost %d; seen twice %d, of which in dead hands all but %d; out of order %d; gaps %d\n", lost, doubles, faults, lates, gaps)
	switch {
	case lost > 0 || faults > 0 || logged > logLen:
		return errors.New("FAILED: messages lost or doubled")
	case lates > again && *mode != "topic" || died == 0 && (lates > 0 || doubles > 0 || gaps > 0):
		return errors.New("FAILED: out of order")
	}
	fmt.Println("ok")
	return nil
}

// besiege scribbles over the control words of one pipe after the other.
func besiege() error {
	rnd := rand.New(rand.NewPCG(*seed, 0))
	fmt.Printf("mode %s, seed %d\n", *mode, *seed)
	began := time.Now()
	var beats, strokes uint64
	for round := 0; time.Since(began) < *duration; round++ {
		b, s, err := siege(round, rnd.Uint64())
		if err != nil {
			return err
		}
		beats, strokes = beats+b, strokes+s
		if round%20 == 0 {
			fmt.Printf("%v: round %d, %d calls returned, %d strokes\n", time.Since(began).Round(time.Second), round, beats, strokes)
		}
	}
	fmt.Printf("%v: %d calls returned, %d strokes\nok\n", time.Since(began).Round(time.Second), beats, strokes)
	return nil
}

func siege(round int, seed uint64) (beats, strokes uint64, err error) {
	*base = fmt.Sprintf("queuestress-%d-%d", os.Getpid(), round)
	*messages = 1 << 62
	l, err := openLedger(true)
	if err != nil {
		return 0, 0, err
	}
	defer l.seg.Close()
	q, err := openPipe(true)
	if err != nil {
		return 0, 0, err
	}
	defer q.segment().Close()
	var procs []*proc
	var mu sync.Mutex
	add := func(kind string, i int, extra ...string) {
		p, e := start(kind, i, 0, append([]string{"-hostile"}, extra...)...)
		mu.Lock()
		defer mu.Unlock()
		if err = errors.Join(err, e); e == nil {
			procs = append(procs, p)
		}
	}
	add("consumer", 0)
	add("producer", 0)
	add("scribbler", q.control(), "-seed", strconv.FormatUint(seed, 10))
	if err != nil {
		return 0, 0, err
	}
	calls := func() uint64 { return l.Consumer[0].Beat.Load() + l.Producer[0].Beat.Load() }
	fail := func(what string) error {
		for _, p := range procs {
			_ = p.cmd.Process.Signal(syscall.SIGQUIT)
			<-p.ended
			fmt.Printf("%s: %v\n%s\n", p.kind, p.state, p.err.String())
		}
		return fmt.Errorf("FAILED: %s; round %d, seed %d", what, round, seed)
	}
	var seen [2]uint64
	moved := [2]time.Time{time.Now(), time.Now()}
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
		for i, w := range []uint64{l.Consumer[0].Beat.Load(), l.Producer[0].Beat.Load()} {
			if w != seen[i] {
				seen[i], moved[i] = w, time.Now()
			}
			if time.Since(moved[i]) < 10*time.Second && time.Since(moved[i]) > time.Second {
				end = time.Now().Add(100 * time.Millisecond)
			} else if time.Since(moved[i]) > 10*time.Second {
				return 0, 0, fail("a call does not return")
			}
		}
	}
	l.Stop.Store(1)
	for _, p := range procs {
		select {
		case <-p.ended:
			if !p.state.Success() {
				return 0, 0, fail(p.kind + " failed")
			}
		case <-time.After(20 * time.Second):
			return 0, 0, fail(p.kind + " does not end")
		}
	}
	return calls(), l.Consumer[maxProcs-1].Beat.Load(), nil
}
