package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "victim", Run: victim}) }

// victim does one operation on a queue and kills itself at a step of it. Operations on a Bytes
// begin with "bytes-", those of its handles with "bytes-ends-".
func victim(c *shmemtest.Conn) error {
	dir, op, at := c.Args()[0], c.Args()[1], step.Point(c.Args()[2])
	byteOp, isBytes := strings.CutPrefix(op, "bytes-")
	var run func() error
	if isBytes {
		b, err := queue.AttachBytes("q", bytesOptions(dir))
		if err != nil {
			return err
		}
		if handleOp, ok := strings.CutPrefix(byteOp, "ends-"); ok {
			if run, err = handleOperation(b, handleOp); err != nil {
				return err
			}
		} else {
			ops := byteOperations(b, b, b.End)
			ops["reserve"] = func() error { return reserveBytes(b) }
			run = ops[byteOp]
		}
	} else {
		o := options(dir)
		if op == "bury" {
			o.DeadLetters, o.MaxDeliveries = "dead", 1
		}
		q, err := queue.Attach[int64]("q", o)
		if err != nil {
			return err
		}
		run = itemOperations(q)[strings.Replace(op, "bury", "recv", 1)]
	}
	step.Hook(func(p step.Point) {
		if p == at {
			shmemtest.Die()
		}
	})
	return fmt.Errorf("%s went on: %v", op, run())
}

var errNo = errors.New("no")

func itemOperations(q *queue.Queue[int64]) map[string]func() error {
	fail := func(*int64) error { return errNo }
	return map[string]func() error{
		"send":     func() error { return q.Send(background, 100) },
		"cancel":   func() error { return q.SendFunc(background, fail) },
		"recv":     func() error { _, err := q.Recv(background); return err },
		"giveback": func() error { return q.RecvFunc(background, fail) },
		"take":     func() error { _, err := q.Take(background); return err },
		"reserve": func() error {
			d, err := q.Reserve(background)
			if err != nil {
				return err
			}
			*d.Value() = 100
			return d.Send()
		},
		"end": q.End,
	}
}

// reserveBytes sends by a draft.
func reserveBytes(b *queue.Bytes) error {
	d, err := b.Reserve(background, 3)
	if err != nil {
		return err
	}
	copy(d.Value(), "100")
	return d.Send()
}

func byteOperations(s byteSends, r byteReceives, end func() error) map[string]func() error {
	fail := func([]byte) error { return errNo }
	return map[string]func() error{
		"send":     func() error { return s.Send(background, []byte("100")) },
		"cancel":   func() error { return s.SendFunc(background, 3, fail) },
		"recv":     func() error { _, err := r.Recv(background, nil); return err },
		"giveback": func() error { return r.RecvFunc(background, fail) },
		"take":     func() error { _, err := r.Take(background); return err },
		"end":      end,
	}
}

// handleOperation makes the handle that an operation needs.
func handleOperation(b *queue.Bytes, op string) (func() error, error) {
	if op == "send" || op == "cancel" {
		s, err := b.Sender()
		return byteOperations(s, b, b.End)[op], err
	}
	r, err := b.Receiver()
	return byteOperations(b, r, b.End)[op], err
}

// drain receives all that is left.
func drain(t *testing.T, recv func(context.Context) (string, error)) (got []string) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(background, 10*time.Second)
		v, err := recv(ctx)
		cancel()
		if err == io.EOF {
			return got
		}
		check(t, err)
		got = append(got, v)
	}
}

// killCases are the steps at which each operation is killed.
var killCases = []struct {
	op string
	at []step.Point
}{
	{"send", []step.Point{
		step.QueueClaimed, step.QueueWritten, step.QueuePublished, step.QueueSent,
	}},
	{"cancel", []step.Point{step.QueueClaimed, step.QueueCanceled}},
	{"recv", []step.Point{
		step.QueueTaken, step.QueueRead, step.QueueReleased, step.QueueReceived,
	}},
	{"giveback", []step.Point{step.QueueTaken, step.QueueReturned}},
	{"take", []step.Point{step.QueueLent}},
	{"reserve", []step.Point{
		step.QueueClaimed, step.QueueReserved, step.QueueWritten, step.QueuePublished,
		step.QueueSent,
	}},
	{"end", []step.Point{step.QueueEnded}},
}

// manyOnly are steps that a Single queue does not have.
var manyOnly = []step.Point{step.QueueCanceled, step.QueueReturned, step.QueueLent}

// TestKillAtEveryStep kills a process at every step of every operation, on every form of queue.
// What was sent before is there. What was being sent is there whole or not at all. What was being
// received is redelivered, unless it was released. Nothing blocks.
func TestKillAtEveryStep(t *testing.T) {
	reached := map[step.Point]bool{}
	forms(t, func(t *testing.T, single bool) {
		for _, prefix := range []string{"", "bytes-", "bytes-ends-"} {
			for _, c := range killCases {
				for _, at := range c.at {
					handles := prefix == "bytes-ends-"
					if single && (slices.Contains(manyOnly, at) || c.op == "reserve") ||
						handles && (c.op == "end" || c.op == "reserve") {
						continue
					}
					t.Run(prefix+c.op+"/"+string(at), func(t *testing.T) {
						reached[at] = true
						killCase{prefix, c.op, at, single}.run(t)
					})
				}
			}
		}
	})
	t.Run("repair", func(t *testing.T) { killedRepairing(t); reached[step.QueueRepaired] = true })
	t.Run("bury", func(t *testing.T) { killedBurying(t); reached[step.QueueDead] = true })
	reached[step.QueueRevoked] = true // TestKillRevoking
	for _, p := range step.Queue {
		if !reached[p] && !t.Failed() {
			t.Errorf("no test kills at %s", p)
		}
	}
}

// A killCase is one operation, killed at one step.
type killCase struct {
	prefix, op string
	at         step.Point
	single     bool
}

// sends reports whether the victim uses the sending end.
func (c killCase) sends() bool {
	return c.op == "send" || c.op == "cancel" || c.op == "end" || c.op == "reserve"
}

func (c killCase) run(t *testing.T) {
	dir := shmemtest.Dir(t)
	q := c.create(t, dir)
	if !c.sends() || !c.single { // the victim takes the sending end of a Single queue
		check(t, q.send(1))
	}
	child := shmemtest.Start(t, "victim", dir, c.prefix+c.op, string(c.at))
	if err := child.Wait(); !shmemtest.Killed(err) {
		t.Fatalf("not killed: %v", err)
	}
	if c.op != "end" {
		check(t, q.send(2))
		check(t, q.send(3))
		check(t, q.end())
	}
	got, want := drain(t, q.recv), c.want()
	slices.Sort(got) // what is redelivered may come later
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s, err := q.stats()
	check(t, err)
	c.checkStats(t, s)
}

// want returns the messages that are left, sorted.
func (c killCase) want() (want []string) {
	consumed := c.at == step.QueueReleased || c.at == step.QueueReceived
	if !c.sends() && !consumed || c.sends() && !c.single {
		want = append(want, "1")
	}
	if c.at == step.QueuePublished || c.at == step.QueueSent {
		want = append(want, "100")
	}
	if c.op != "end" {
		want = append(want, "2", "3")
	}
	slices.Sort(want)
	return want
}

func (c killCase) checkStats(t *testing.T, s queue.Stats) {
	t.Helper()
	skipped := c.at == step.QueueClaimed || c.at == step.QueueWritten ||
		c.at == step.QueueReserved
	redelivered := c.at == step.QueueTaken || c.at == step.QueueRead || c.at == step.QueueLent
	if c.single { // deaths are counted, not messages
		skipped, redelivered = c.sends() && c.op != "end", !c.sends()
	}
	if skipped != (s.Skipped == 1) || redelivered != (s.Redelivered == 1) {
		t.Errorf("%+v", s)
	}
}

// A killQueue is a queue of numbers, whatever its form is.
type killQueue struct {
	send  func(v int64) error
	recv  func(context.Context) (string, error)
	end   func() error
	stats func() (queue.Stats, error)
}

func (c killCase) create(t *testing.T, dir string) killQueue {
	t.Helper()
	if c.prefix == "" {
		q, err := queue.Create[int64]("q", &queue.Options{Lifetime: shmem.Owned, Dir: dir, Single: c.single, Capacity: 8})
		check(t, err)
		t.Cleanup(func() { check(t, q.Close()) })
		return killQueue{
			func(v int64) error { return q.Send(background, v) },
			func(ctx context.Context) (string, error) {
				v, err := q.Recv(ctx)
				return fmt.Sprint(v), err
			},
			q.End, q.Stats,
		}
	}
	o := &queue.BytesOptions{Lifetime: shmem.Owned, Dir: dir, Single: c.single, Capacity: 8, Bytes: 256}
	o.Stamped = c.prefix == "bytes-ends-"
	b, err := queue.CreateBytes("q", o)
	check(t, err)
	t.Cleanup(func() { check(t, b.Close()) })
	return killQueue{
		func(v int64) error { return b.Send(background, fmt.Append(nil, v)) },
		func(ctx context.Context) (string, error) {
			p, err := b.Recv(ctx, nil)
			return string(p), err
		},
		b.End, b.Stats,
	}
}

// killedRepairing kills a process in a message, and the next one when it has repaired that. A third
// one goes on.
func killedRepairing(t *testing.T) {
	dir := shmemtest.Dir(t)
	q := open[int64](t, dir, nil)
	for _, c := range [][2]string{
		{"send", string(step.QueueClaimed)}, {"recv", string(step.QueueRepaired)},
	} {
		err := shmemtest.Start(t, "victim", dir, c[0], c[1]).Wait()
		if !shmemtest.Killed(err) {
			t.Fatalf("not killed: %v", err)
		}
	}
	check(t, q.Send(background, 7))
	if v, err := q.Recv(background); v != 7 || err != nil {
		t.Error(v, err)
	}
}

// killedBurying kills a process when a message is in the queue and in the dead-letter queue. It
// stays in both.
func killedBurying(t *testing.T) {
	dir := shmemtest.Dir(t)
	with := func(o *queue.Options) { o.DeadLetters, o.MaxDeliveries = "dead", 1 }
	q := open[int64](t, dir, with)
	dead, err := queue.Attach[int64]("dead", &queue.Options{Dir: dir})
	check(t, err)
	defer dead.Close()
	check(t, q.Send(background, 7))
	l, err := q.Take(background)
	check(t, err)
	check(t, l.Back(0))
	if err := shmemtest.Start(t, "victim", dir, "bury", string(step.QueueDead)).Wait(); !shmemtest.Killed(err) {
		t.Fatalf("not killed: %v", err)
	}
	check(t, q.End())
	if _, err := q.Recv(background); err != io.EOF {
		t.Error(err)
	}
	for range 2 {
		if v, err := dead.TryRecv(); v != 7 || err != nil {
			t.Error(v, err)
		}
	}
}

// TestDeathIsSeen measures how long a waiter takes to find the death of the process it waits for.
func TestDeathIsSeen(t *testing.T) {
	for _, c := range [][2]string{
		{"send", string(step.QueueWritten)}, {"recv", string(step.QueueTaken)},
	} {
		dir := shmemtest.Dir(t)
		q := open[int64](t, dir, nil)
		if c[0] == "recv" {
			check(t, q.Send(background, 1))
		}
		got := make(chan time.Time, 1)
		child := shmemtest.Start(t, "stopper", dir, c[0], c[1])
		child.Expect(t, "reached")
		go func() {
			_, err := q.Recv(background)
			check(t, err)
			got <- time.Now()
		}()
		time.Sleep(30 * time.Millisecond)
		if c[0] == "send" {
			check(t, q.Send(background, 2))
		}
		select {
		case <-got:
			t.Fatal("received what another process holds")
		case <-time.After(30 * time.Millisecond):
		}
		died := time.Now()
		child.Kill()
		d := (<-got).Sub(died)
		t.Logf("%s: %v after the kill", c[0], d)
		if d > 20*time.Second {
			t.Errorf("%s: seen only after %v", c[0], d)
		}
	}
}

func init() { roles = append(roles, shmemtest.Role{Name: "stopper", Run: stopper}) }

// stopper stays at a step until it is killed.
func stopper(c *shmemtest.Conn) error {
	q, err := queue.Attach[int64]("q", options(c.Args()[0]))
	if err != nil {
		return err
	}
	step.Hook(func(p step.Point) {
		if string(p) == c.Args()[2] {
			c.Send("reached")
			select {}
		}
	})
	if c.Args()[1] == "send" {
		return q.Send(background, 1)
	}
	_, err = q.Recv(background)
	return err
}
