package segment

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/sys"
)

// The gate is the lock under which a segment changes hands. The kernel frees it with leave, when
// the file is closed, and when the process dies. Nothing runs under it but the protocol.
//
// The goroutines of a process that want one gate queue for it, first in first out: only one of them
// tries to lock it. Between processes a try is repeated after a pause.

// A gateKey names the file whose gate it is.
type gateKey struct{ dev, ino uint64 }

// A gateQueue is the queue of this process before one gate.
type gateQueue struct {
	turn  chan struct{} // holds one token; waiters for it are first in first out
	users int           // goroutines that have the turn or wait for it; guarded by gates.mu
}

// gates are the gates that goroutines of this process hold or wait for.
var gates struct {
	mu sync.Mutex
	m  map[gateKey]*gateQueue // guarded by mu
}

// gateQueues holds queues that no goroutine is in.
var gateQueues = sync.Pool{New: func() any {
	q := &gateQueue{turn: make(chan struct{}, 1)}
	q.turn <- struct{}{}
	return q
}}

// gatePause is the longest pause between two tries.
const gatePause = time.Millisecond

// enter takes the gate, or returns errs.Busy at the deadline. It polls: a wait in the kernel would
// last as long as a stopped process holds the gate.
func (c *control) enter(deadline time.Time) error { return c.enterUnless(deadline, nil) }

// enterUnless is enter. If another process has the gate it calls blocked first, and returns its
// error if there is one.
func (c *control) enterUnless(deadline time.Time, blocked func() error) error {
	q := c.queue()
	select {
	case <-q.turn:
	default:
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		select {
		case <-q.turn:
		case <-timer.C:
			q.done(c.gateKey())
			return busyError()
		}
	}
	err := c.lockGate(deadline, blocked)
	if err != nil {
		q.pass(c.gateKey())
	}
	return err
}

// lockGate takes the gate's lock. This goroutine has the turn.
func (c *control) lockGate(deadline time.Time, blocked func() error) error {
	pause := 20 * time.Microsecond
	for {
		err := c.file.Lock(sys.GateByte, false)
		if err != sys.ErrHeld {
			return err
		}
		if blocked != nil {
			if err := blocked(); err != nil {
				return err
			}
			blocked = nil
		}
		if !time.Now().Before(deadline) {
			return c.blockedError()
		}
		time.Sleep(pause/2 + rand.N(pause))
		pause = min(2*pause, gatePause)
	}
}

// leave frees the gate, and lets the next goroutine of this process try.
func (c *control) leave() { c.leaveWith(sys.GateByte + 1) }

// leaveWith frees all locks below the byte end, the gate included, by one call.
func (c *control) leaveWith(end int64) {
	_ = c.file.Unlock(sys.GateByte, end-sys.GateByte)
	gates.mu.Lock()
	q := gates.m[c.gateKey()]
	gates.mu.Unlock()
	if q != nil {
		q.pass(c.gateKey())
	}
}

func (c *control) gateKey() gateKey { return gateKey{c.stat.Dev, c.stat.Ino} }

// queue returns the queue before the gate. The caller is in it from now on, until done or pass.
func (c *control) queue() *gateQueue {
	gates.mu.Lock()
	defer gates.mu.Unlock()
	if gates.m == nil {
		gates.m = make(map[gateKey]*gateQueue)
	}
	q := gates.m[c.gateKey()]
	if q == nil {
		q = gateQueues.Get().(*gateQueue)
		gates.m[c.gateKey()] = q
	}
	q.users++
	return q
}

// pass gives the turn to the next goroutine.
func (q *gateQueue) pass(key gateKey) {
	q.turn <- struct{}{}
	q.done(key)
}

// done takes the caller out of the queue.
func (q *gateQueue) done(key gateKey) {
	gates.mu.Lock()
	defer gates.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(gates.m, key)
		gateQueues.Put(q) // its turn has the token
	}
}

func busyError() error {
	return fmt.Errorf("%w; it may be stopped (SIGSTOP, a debugger): "+
		"find it with `grep OFDLCK /proc/locks`, or wait longer with Options.Timeout", errs.Busy)
}

// blockedError is busyError, or says that a process blocks the gate that may only read the file.
func (c *control) blockedError() error {
	if held, err := c.file.Held(sys.GateByte, 1); err != nil || held {
		return busyError()
	}
	return fmt.Errorf("%w; a process that may only read the file blocks it: "+
		"take its read permission (Options.Mode 0600), or Remove the name", errs.Busy)
}
