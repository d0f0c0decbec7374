//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// patience is how long a receiver may get nothing. The machine may be loaded.
const patience = 2 * time.Minute

// A trial is the parent of one run with kills. Only the main goroutine uses it.
type trial struct {
	l     *ledger
	q     pipe
	rnd   *rand.Rand
	procs []*proc // nil: the child has ended by itself
	died  int     // children that were killed
	cut   uint64  // messages that RecvBatch may have returned to killed consumers

	unsure  map[uint64]bool // a producer was killed in their Send: they may arrive or not
	excused map[uint64]bool // a consumer was killed while it had them: they may arrive twice

	began, reported   time.Time
	received          uint64
	lastChangeOfCount time.Time
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
	fmt.Printf("mode %s, %d producers, %d consumers, seed %d\n", *mode, *producers, *consumers,
		*seed)
	t := &trial{
		l: l, q: q, rnd: rand.New(rand.NewPCG(*seed, 0)),
		unsure: map[uint64]bool{}, excused: map[uint64]bool{},
	}
	if err := t.launch(); err != nil {
		return err
	}
	if err := t.killLoop(); err != nil {
		return err
	}
	if err := t.drain(); err != nil {
		return err
	}
	return t.account()
}

// launch starts all children, the consumers first.
func (t *trial) launch() error {
	for i := range *consumers {
		if err := t.add("consumer", i); err != nil {
			return err
		}
	}
	if isTopic() { // a subscriber gets only what is published after it
		time.Sleep(200 * time.Millisecond)
	}
	for i := range *producers {
		if err := t.add("producer", i); err != nil {
			return err
		}
	}
	t.began = time.Now()
	t.reported, t.lastChangeOfCount = t.began, t.began
	return nil
}

func (t *trial) add(kind string, index int) error {
	p, err := start(kind, index, t.fuse())
	if err == nil {
		t.procs = append(t.procs, p)
	}
	return err
}

// fuse returns after how many steps the next child kills itself; 0: it does not.
func (t *trial) fuse() uint64 {
	if *kills == 0 || t.died >= *kills || t.rnd.IntN(2) == 0 {
		return 0
	}
	return 1 + t.rnd.Uint64N(1<<(1+t.rnd.IntN(14)))
}

// killLoop kills children at random times until the time, the messages or the kills are used up.
func (t *trial) killLoop() error {
	for t.left("producer") > 0 && time.Since(t.began) < *duration &&
		(*kills == 0 || t.died < *kills) {
		time.Sleep(time.Duration(t.rnd.IntN(6000)) * time.Microsecond)
		if err := errors.Join(t.reap(), t.watch()); err != nil {
			return err
		}
		if t.died >= *kills {
			continue
		}
		if p := t.procs[t.rnd.IntN(len(t.procs))]; p != nil && t.rnd.IntN(2) == 0 {
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	}
	return nil
}

// drain waits until the producers have ended, ends the stream, and waits for the consumers.
func (t *trial) drain() error {
	t.l.Stop.Store(1)
	for _, kind := range []string{"producer", "consumer"} {
		for t.left(kind) > 0 {
			time.Sleep(time.Millisecond)
			if err := errors.Join(t.reap(), t.watch()); err != nil {
				return err
			}
		}
		if err := t.q.end(); err != nil {
			return err
		}
	}
	return nil
}

// left returns how many children of a kind have not ended by themselves.
func (t *trial) left(kind string) (n int) {
	for _, p := range t.procs {
		if p != nil && p.kind == kind {
			n++
		}
	}
	return n
}

// reap collects the children that have ended.
func (t *trial) reap() error {
	for i, p := range t.procs {
		if p == nil {
			continue
		}
		select {
		case <-p.ended:
			if err := t.replace(i); err != nil {
				return err
			}
		default:
		}
	}
	return nil
}

// replace notes what a killed child had at stake, and starts another in its place.
func (t *trial) replace(i int) error {
	p := t.procs[i]
	if !p.killed() {
		if p.state.Success() {
			t.procs[i] = nil
			return nil
		}
		return fmt.Errorf("%s %d: %v\n%s", p.kind, p.index, p.state, p.out.String())
	}
	t.died++
	if p.kind == "producer" {
		w := &t.l.Producer[p.index]
		for seq := w.Done.Load(); seq < w.Intent.Load(); seq++ {
			t.unsure[entry(0, p.index, seq)] = true
		}
		w.Done.Store(w.Intent.Load())
	} else {
		h := &t.l.Consumer[p.index].Hand
		if v := h.Load(); v != 0 {
			t.excused[withoutKind(v)] = true
			h.Store(0)
		}
		t.cut += uint64(*batch)
	}
	next, err := start(p.kind, p.index, t.fuse())
	t.procs[i] = next
	return err
}

// watch fails if nothing is received any more, and reports the progress.
func (t *trial) watch() error {
	now := time.Now()
	if n := t.l.got(); n != t.received {
		t.received, t.lastChangeOfCount = n, now
	} else if now.Sub(t.lastChangeOfCount) > patience {
		for _, p := range t.procs {
			if p != nil {
				fmt.Printf("%s %d:\n%s\n", p.kind, p.index, p.stacks())
			}
		}
		return fmt.Errorf("nothing has been received for %v", patience)
	}
	if now.Sub(t.reported) > 10*time.Second {
		t.reported = now
		sent, skipped, redelivered := t.q.stats()
		fmt.Printf("%v: received %d, sent %d, killed %d, skipped %d, redelivered %d\n",
			now.Sub(t.began).Round(time.Second), t.received, sent, t.died, skipped, redelivered)
	}
	return nil
}
