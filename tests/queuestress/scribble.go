//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/shmembox/shmem"
)

// scribbleAll makes one pipe after the other and has a process write over its control words.
func scribbleAll() error {
	rnd := rand.New(rand.NewPCG(*seed, 0))
	fmt.Printf("mode %s, seed %d\n", *mode, *seed)
	began := time.Now()
	var calls, writes uint64
	for round := 0; time.Since(began) < *duration; round++ {
		c, w, err := scribbleRound(round, rnd.Uint64())
		if err != nil {
			return err
		}
		calls, writes = calls+c, writes+w
		if round%20 == 0 {
			fmt.Printf("%v: round %d, %d calls returned, %d writes\n",
				time.Since(began).Round(time.Second), round, calls, writes)
		}
	}
	fmt.Printf("%v: %d calls returned, %d writes\nok\n",
		time.Since(began).Round(time.Second), calls, writes)
	return nil
}

// scribbleRound runs a consumer, a producer and a scribbler on one pipe. It returns how many calls
// returned and how many times the scribbler wrote.
func scribbleRound(round int, seed uint64) (calls, writes uint64, err error) {
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
	procs, err := startRound(q, seed)
	if err == nil {
		err = watchRound(l, procs)
	}
	if err == nil {
		l.Stop.Store(1)
		err = endRound(procs)
	}
	if err != nil {
		for _, p := range procs {
			out := p.stacks()
			fmt.Printf("%s: %v\n%s\n", p.kind, p.state, out)
		}
		return 0, 0, fmt.Errorf("FAILED: %w; round %d, seed %d", err, round, seed)
	}
	calls = l.Consumer[0].Beat.Load() + l.Producer[0].Beat.Load()
	return calls, l.Consumer[maxProcs-1].Beat.Load(), nil
}

func startRound(q pipe, seed uint64) (procs []*proc, err error) {
	add := func(kind string, index int, extra ...string) {
		p, e := start(kind, index, 0, append([]string{"-hostile"}, extra...)...)
		if err = errors.Join(err, e); e == nil {
			procs = append(procs, p)
		}
	}
	add("consumer", 0)
	add("producer", 0)
	add("scribbler", q.control(), "-seed", strconv.FormatUint(seed, 10))
	return procs, err
}

// watchRound watches for 1.5 s that calls of both sides return. If a side is silent for a second,
// the round lasts until a call of it returns, and fails after ten seconds. No child may end.
func watchRound(l *ledger, procs []*proc) error {
	var seen [2]uint64
	moved := [2]time.Time{time.Now(), time.Now()}
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
		for _, p := range procs {
			select {
			case <-p.ended:
				return fmt.Errorf("%s has ended", p.kind)
			default:
			}
		}
		for i, n := range []uint64{l.Consumer[0].Beat.Load(), l.Producer[0].Beat.Load()} {
			if n != seen[i] {
				seen[i], moved[i] = n, time.Now()
			}
			switch silent := time.Since(moved[i]); {
			case silent > 10*time.Second:
				return errors.New("a call does not return")
			case silent > time.Second:
				end = time.Now().Add(100 * time.Millisecond)
			}
		}
	}
	return nil
}

// endRound waits until all children have ended by themselves.
func endRound(procs []*proc) error {
	for _, p := range procs {
		select {
		case <-p.ended:
			if !p.state.Success() {
				return fmt.Errorf("%s failed", p.kind)
			}
		case <-time.After(20 * time.Second):
			return fmt.Errorf("%s does not end", p.kind)
		}
	}
	return nil
}

// scribble writes random bytes over the control words. Small changes of a word do the most damage,
// so they are the most frequent among those anywhere; the header gets more writes than the rest. A
// ring that is closed does nothing, so the word that says so becomes 0 again soon.
func scribble(l *ledger) error {
	q, err := shmem.AttachSegment(*base+".pipe", &shmem.Options{Dir: *dir})
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(*seed, 1))
	n := int64(*index)
	const header = 640
	for l.Stop.Load() == 0 {
		b := make([]byte, 1+rnd.IntN(8))
		at := rnd.Int64N(n - 8)
		kind := rnd.IntN(4)
		if kind == 1 {
			at = rnd.Int64N(min(n-8, header))
		}
		if kind == 0 {
			if _, err := q.ReadAt(b, at); err != nil {
				return err
			}
			b[0] += byte(rnd.IntN(5)) - 2
		} else {
			for i := range b {
				b[i] = byte(rnd.Uint32()) * byte(rnd.IntN(2))
			}
		}
		if _, err := q.WriteAt(b, at); err != nil {
			return err
		}
		if rnd.IntN(4) == 0 {
			if _, err := q.WriteAt(make([]byte, 8), closedAt()); err != nil {
				return err
			}
		}
		l.Consumer[maxProcs-1].Beat.Add(1)
		if rnd.IntN(8) == 0 {
			time.Sleep(time.Duration(rnd.IntN(300)) * time.Microsecond)
		}
	}
	return nil
}

// closedAt returns where the word Closed of the ring is.
func closedAt() int64 {
	if isTopic() {
		return 128
	}
	return 256
}
