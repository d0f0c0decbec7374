//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
		lightFuse()
	}
	if *child == "producer" {
		return produce(l, q)
	}
	return consume(l, q)
}

// lightFuse has the process kill itself at the fuse-th step of queues, topics and waiting.
func lightFuse() {
	var left atomic.Int64
	left.Store(int64(*fuse))
	step.Hook(func(p step.Point) {
		name := string(p)
		counts := strings.HasPrefix(name, "queue.") || strings.HasPrefix(name, "topic.") ||
			strings.HasPrefix(name, "wa") // wait and wake
		if counts && left.Add(-1) == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
}

// limit returns the context of one call.
func limit() (context.Context, context.CancelFunc) {
	if *hostile {
		return context.WithTimeout(context.Background(), 20*time.Millisecond)
	}
	return context.Background(), func() {}
}

// tolerable reports whether err is one that scribbled control words may cause.
func tolerable(err error) bool {
	if !*hostile || err == nil {
		return false
	}
	for _, e := range []error{
		context.DeadlineExceeded, shmem.ErrCorrupt, errTorn, io.EOF, io.ErrUnexpectedEOF,
		topic.ErrLost, topic.ErrFull, topic.ErrNoHold, topic.ErrEnded, queue.ErrEnded,
		queue.ErrTaken, queue.ErrLeaseLost, shmem.ErrUnlinked,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// produce sends until it is stopped. The ledger knows what it is about to send, and what it has
// sent.
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
		if tolerable(err) {
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

// A consumer is what one consumer knows of each producer.
type consumer struct {
	l     *ledger
	next  []uint64 // the sequence number after the highest seen
	began []bool   // topic: whether a message was seen
}

// consume receives until the stream ends.
func consume(l *ledger, q pipe) error {
	c := &consumer{l: l, next: make([]uint64, *producers), began: make([]bool, *producers)}
	me := &l.Consumer[*index]
	hold := func(p int, seq uint64) { me.Hand.Store(entry(holding, p, seq)) }
	for {
		ctx, cancel := limit()
		err := q.recv(ctx, hold, c.seen)
		cancel()
		me.Beat.Add(1)
		me.Hand.Store(0)
		stopped := *hostile && l.Stop.Load() != 0
		switch {
		case err == io.EOF && !*hostile, (err == nil || tolerable(err)) && stopped:
			return nil
		case err != nil && !tolerable(err):
			return err
		}
	}
}

// seen notes a message, and logs one that comes late or twice, or that misses in a topic.
func (c *consumer) seen(p int, seq uint64) {
	if *hostile {
		return
	}
	if seq >= c.l.per {
		panic("a number that was never sent")
	}
	if seq < c.next[p] {
		c.l.log(late, p, seq)
	} else if isTopic() {
		for ; c.began[p] && c.next[p] < seq; c.next[p]++ {
			c.l.log(gap, p, c.next[p])
		}
		c.began[p] = true
	}
	c.next[p] = max(c.next[p], seq+1)
	if !isTopic() && c.l.set(p, seq) {
		c.l.log(double, p, seq)
	}
	c.l.Consumer[*index].Got.Add(1)
}
