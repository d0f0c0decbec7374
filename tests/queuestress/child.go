//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

func runChild() error {
	l, err := openLedger(false)
	if err != nil {
		return err
	}
	if *child == "scribbler" {
		return scribble(l)
	}
	q, err := openPipe(false)
	if err != nil {
		if *hostile {
			return nil
		}
		return err
	}
	if *fuse > 0 {
		var left atomic.Int64
		left.Store(int64(*fuse))
		step.Hook(func(p step.Point) {
			if (strings.HasPrefix(string(p), "queue.") || strings.HasPrefix(string(p), "topic.") || strings.HasPrefix(string(p), "wa")) && left.Add(-1) == 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		})
	}
	if *child == "producer" {
		return produce(l, q)
	}
	return consume(l, q)
}

// limit is the context of a call.
func limit() (context.Context, context.CancelFunc) {
	if *hostile {
		return context.WithTimeout(context.Background(), 20*time.Millisecond)
	}
	return context.Background(), func() {}
}

// bears reports whether the error is one that has to be borne.
func bears(err error) bool {
	return *hostile && err != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, shmem.ErrCorrupt) || err == errTorn ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, topic.ErrLost) || errors.Is(err, topic.ErrFull) ||
		errors.Is(err, topic.ErrEnded) || errors.Is(err, queue.ErrEnded) || errors.Is(err, queue.ErrTaken))
}

func produce(l *ledger, q pipe) error {
	me := &l.Producer[*index]
	seq := me.Intent.Load()
	last := min(l.per, *messages/uint64(*producers))
	for l.Stop.Load() == 0 && seq < last {
		k := int(min(uint64(max(*batch, 1)), last-seq))
		me.Intent.Store(seq + uint64(k))
		ctx, cancel := limit()
		n, err := q.send(ctx, *index, seq, k)
		cancel()
		me.Beat.Add(1)
		if bears(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%d: %w", seq, err)
		}
		seq += uint64(n)
		me.Done.Store(seq)
	}
	return nil
}

func consume(l *ledger, q pipe) error {
	me := &l.Consumer[*index]
	next := make([]uint64, *producers)
	began := make([]bool, *producers)
	hold := func(i, p int, seq uint64) { me.Hands[i].Store(entry(1, p, seq)) }
	seen := func(p int, seq uint64) {
		if *hostile {
			return
		}
		if seq >= l.per {
			panic("a number that was never sent")
		}
		if seq < next[p] {
			l.log(late, p, seq)
		} else if *mode == "topic" {
			for ; began[p] && next[p] < seq; next[p]++ {
				l.log(gap, p, next[p])
			}
			began[p] = true
		}
		next[p] = max(next[p], seq+1)
		if *mode != "topic" && l.set(p, seq) {
			l.log(double, p, seq)
		}
		me.Got.Add(1)
	}
	for {
		ctx, cancel := limit()
		err := q.recv(ctx, hold, seen)
		cancel()
		me.Beat.Add(1)
		me.Hands[0].Store(0)
		if bears(err) {
			if l.Stop.Load() != 0 {
				return nil
			}
			continue
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if *hostile && l.Stop.Load() != 0 {
			return nil
		}
	}
}

// scribble writes random bytes over the control words.
func scribble(l *ledger) error {
	q, err := shmem.AttachSegment(*base+".pipe", &shmem.Options{Dir: *dir})
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(*seed, 1))
	n := int64(*index)
	for l.Stop.Load() == 0 {
		b := make([]byte, 1+rnd.IntN(8))
		at := rnd.Int64N(n - 8)
		switch rnd.IntN(4) {
		case 0: // small changes of a word hurt most
			if _, err := q.ReadAt(b, at); err != nil {
				return err
			}
			b[0] += byte(rnd.IntN(5)) - 2
		case 1:
			at = rnd.Int64N(min(n-8, 640))
			fallthrough
		default:
			for i := range b {
				b[i] = byte(rnd.Uint32()) * byte(rnd.IntN(2))
			}
		}
		if _, err := q.WriteAt(b, at); err != nil {
			return err
		}
		l.Consumer[maxProcs-1].Beat.Add(1)
		if rnd.IntN(8) == 0 {
			time.Sleep(time.Duration(rnd.IntN(300)) * time.Microsecond)
		}
	}
	return nil
}
