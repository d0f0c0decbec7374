package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "victim", Run: victim}) }

// victim does one thing and kills itself at a step of it.
func victim(c *shmemtest.Conn) error {
	dir, op, at := c.Args()[0], c.Args()[1], step.Point(c.Args()[2])
	var q *queue.Queue[int64]
	var b *queue.Bytes
	var err error
	if op == "bsend" || op == "brecv" {
		b, err = queue.AttachBytes("q", bytesOptions(dir))
	} else {
		q, err = queue.Attach[int64]("q", options(dir))
	}
	if err != nil {
		return err
	}
	step.Hook(func(p step.Point) {
		if p == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	fail := errors.New("no")
	switch op {
	case "send":
		err = q.Send(background, 100)
	case "fail":
		err = q.SendFunc(background, func(v *int64) error { return fail })
	case "recv":
		_, err = q.Recv(background)
	case "back":
		err = q.RecvFunc(background, func(v *int64) error { return fail })
	case "end":
		err = q.End()
	case "bsend":
		err = b.Send(background, []byte("100"))
	case "brecv":
		_, err = b.Recv(background, nil)
	}
	return fmt.Errorf("%s went on: %v", op, err)
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

// Every step of every operation, with the process killed there: what was sent before is there, what was being sent
// is there whole or not at all, what was being received comes again unless it was done with; nobody hangs.
func TestKillAtEveryStep(t *testing.T) {
	reached := map[step.Point]bool{}
	send := []step.Point{step.QueueClaimed, step.QueueWritten, step.QueuePublished, step.QueueSent}
	recv := []step.Point{step.QueueTaken, step.QueueRead, step.QueueReleased, step.QueueReceived}
	cases := []struct {
		op string
		at []step.Point
	}{
		{"send", send}, {"fail", []step.Point{step.QueueClaimed, step.QueueCanceled}},
		{"recv", recv}, {"back", []step.Point{step.QueueTaken, step.QueueReturned}}, {"end", []step.Point{step.QueueEnded}},
		{"bsend", send}, {"brecv", recv},
	}
	forms(t, func(t *testing.T, single bool) {
		for _, c := range cases {
			for _, at := range c.at {
				if single && (at == step.QueueCanceled || at == step.QueueReturned) {
					continue
				}
				t.Run(c.op+"/"+string(at), func(t *testing.T) {
					reached[at] = true
					dir := shmemtest.Dir(t)
					o := options(dir)
					o.Single, o.Capacity = single, 8
					var send func(v int64) error
					var recv func(context.Context) (string, error)
					var end func() error
					var stats func() (queue.Stats, error)
					if c.op == "bsend" || c.op == "brecv" {
						b, err := queue.CreateBytes("q", &queue.BytesOptions{Dir: dir, Single: single, Capacity: 8, Bytes: 256})
						check(t, err)
						defer b.Close()
						send = func(v int64) error { return b.Send(background, fmt.Append(nil, v)) }
						recv = func(ctx context.Context) (string, error) { p, err := b.Recv(ctx, nil); return string(p), err }
						end, stats = b.End, b.Stats
					} else {
						q, err := queue.Create[int64]("q", o)
						check(t, err)
						defer q.Close()
						send = func(v int64) error { return q.Send(background, v) }
						recv = func(ctx context.Context) (string, error) { v, err := q.Recv(ctx); return fmt.Sprint(v), err }
						end, stats = q.End, q.Stats
					}
					sends := slices.Contains([]string{"send", "fail", "bsend", "end"}, c.op)
					if !sends || !single { // the child is to have the end of a Single queue
						check(t, send(1))
					}
					child := shmemtest.Start(t, "victim", dir, c.op, string(at))
					if err := child.Wait(); !shmemtest.Killed(err) {
						t.Fatalf("not killed: %v", err)
					}
					if c.op != "end" {
						check(t, send(2))
						check(t, send(3))
						check(t, end())
					}
					got := drain(t, recv)
					var want []string
					if !sends && at != step.QueueReleased && at != step.QueueReceived || sends && !single {
						want = append(want, "1")
					}
					if at == step.QueuePublished || at == step.QueueSent {
						want = append(want, "100")
					}
					if c.op != "end" {
						want = append(want, "2", "3")
					}
					slices.Sort(got) // what comes again may come later
					slices.Sort(want)
					if !slices.Equal(got, want) {
						t.Errorf("got %v, want %v", got, want)
					}
					s, err := stats()
					check(t, err)
					lost := at == step.QueueClaimed || at == step.QueueWritten
					again := at == step.QueueTaken || at == step.QueueRead
					if !single && (lost != (s.Skipped == 1) || again != (s.Redelivered == 1)) ||
						single && sends && c.op != "end" && s.Skipped != 1 || single && !sends && s.Redelivered != 1 {
						t.Errorf("%+v", s)
					}
				})
			}
		}
	})
	t.Run("repair", func(t *testing.T) { killedRepairing(t); reached[step.QueueRepaired] = true })
	for _, p := range step.Queue {
		if !reached[p] && !t.Failed() {
			t.Errorf("no test kills at %s", p)
		}
	}
}

// One dies in a message, the next one when it has repaired that; a third goes on.
func killedRepairing(t *testing.T) {
	dir := shmemtest.Dir(t)
	q := open[int64](t, dir, nil)
	for _, c := range [][2]string{{"send", string(step.QueueClaimed)}, {"recv", string(step.QueueRepaired)}} {
		if err := shmemtest.Start(t, "victim", dir, c[0], c[1]).Wait(); !shmemtest.Killed(err) {
			t.Fatalf("not killed: %v", err)
		}
	}
	check(t, q.Send(background, 7))
	if v, err := q.Recv(background); v != 7 || err != nil {
		t.Error(v, err)
	}
}

// How long it takes until the death of who is waited for is seen.
func TestDeathIsSeen(t *testing.T) {
	for _, c := range [][2]string{{"send", string(step.QueueWritten)}, {"recv", string(step.QueueTaken)}} {
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
			t.Fatal("received what another one holds")
		case <-time.After(30 * time.Millisecond):
		}
		died := time.Now()
		child.Kill()
		d := (<-got).Sub(died)
		t.Logf("%s: %v after the kill", c[0], d)
		if d > 5*time.Second {
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
