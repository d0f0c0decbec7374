package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "taker", Run: taker}) }

// taker takes the name of a segment, as the owner or by Remove, and may die in between.
func taker(c *shmemtest.Conn) error {
	dir, name, how, at := c.Args()[0], c.Args()[1], c.Args()[2], step.Point(c.Args()[3])
	s, err := shmem.AttachSegment(name, &shmem.Options{Dir: dir})
	if err != nil {
		return err
	}
	step.Hook(func(p step.Point) {
		if p == at {
			shmemtest.Die()
		}
	})
	switch how {
	case "remove":
		return shmem.Remove(dir, name)
	case "rm":
		return os.Remove(filepath.Join(dir, name))
	}
	return errors.Join(s.Own(), s.Close())
}

// A way to take a name; dies is the step at which the process dies.
type way struct {
	how  string
	dies step.Point
}

var ways = []way{
	{"close", ""}, {"remove", ""}, {"rm", ""},
	{"close", step.DetachUnlink}, {"remove", step.RemoveUnlink},
}

// tells reports whether the process tells those who stay. Otherwise they look.
func (w way) tells() bool { return w.dies == "" && w.how != "rm" }

// take takes the name of a segment in another process.
func (w way) take(t *testing.T, dir, name string) {
	t.Helper()
	c := shmemtest.Start(t, "taker", dir, name, w.how, string(w.dies))
	err := c.Wait()
	if killed := shmemtest.Killed(err); killed != (w.dies != "") {
		t.Fatalf("the process that takes the name: %v", err)
	}
}

// A pipe is a queue of any form.
type pipe struct {
	send, trySend func(ctx context.Context) error
	recv          func(ctx context.Context) error // a nil ctx does not block
	end           func() error
	segment       *shmem.Segment
}

// pipeForms open a queue of each form that has room for few messages, the name of which is "q".
var pipeForms = map[string]func(dir string) (pipe, error){
	"items":        func(dir string) (pipe, error) { return itemPipe(dir, false) },
	"single items": func(dir string) (pipe, error) { return itemPipe(dir, true) },
	"bytes":        func(dir string) (pipe, error) { return bytePipe(dir, false) },
	"single bytes": func(dir string) (pipe, error) { return bytePipe(dir, true) },
}

func itemPipe(dir string, single bool) (pipe, error) {
	q, err := queue.Open[int]("q", &queue.Options{Dir: dir, Single: single, Capacity: 4})
	if err != nil {
		return pipe{}, err
	}
	return pipe{
		send:    func(ctx context.Context) error { return q.Send(ctx, 1) },
		trySend: func(context.Context) error { return q.TrySend(1) },
		recv: func(ctx context.Context) (err error) {
			if ctx == nil {
				_, err = q.TryRecv()
			} else {
				_, err = q.Recv(ctx)
			}
			return err
		},
		end:     q.End,
		segment: q.Segment(),
	}, nil
}

func bytePipe(dir string, single bool) (pipe, error) {
	o := &queue.BytesOptions{Dir: dir, Single: single, Capacity: 4, Bytes: 64}
	q, err := queue.OpenBytes("q", o)
	if err != nil {
		return pipe{}, err
	}
	m := make([]byte, 8)
	return pipe{
		send:    func(ctx context.Context) error { return q.Send(ctx, m) },
		trySend: func(context.Context) error { return q.TrySend(m) },
		recv: func(ctx context.Context) (err error) {
			if ctx == nil {
				_, err = q.TryRecv(nil)
			} else {
				_, err = q.Recv(ctx, nil)
			}
			return err
		},
		end:     q.End,
		segment: q.Segment(),
	}, nil
}

// A parking context tells when a call that has it begins to wait.
type parking struct {
	context.Context
	there chan struct{}
}

func (p parking) Done() <-chan struct{} {
	select {
	case p.there <- struct{}{}:
	default:
	}
	return p.Context.Done()
}

// blocked starts a call and returns when it waits.
func blocked(t *testing.T, call func(context.Context) error) <-chan error {
	t.Helper()
	ctx, cancel := context.WithTimeout(background, shmemtest.DefaultLimit)
	t.Cleanup(cancel)
	p, done := parking{ctx, make(chan struct{}, 1)}, make(chan error, 1)
	go func() { done <- call(p) }()
	select {
	case <-p.there:
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	}
	return done
}

func wantUnlinked(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, queue.ErrUnlinked) || errors.Is(err, io.EOF) {
		t.Errorf("%s: %v, want ErrUnlinked", what, err)
	}
}

// TestUnlinked takes the name of a queue while other processes use it.
func TestUnlinked(t *testing.T) {
	for form, open := range pipeForms {
		for _, w := range ways {
			t.Run(fmt.Sprintf("%s, %s %s", form, w.how, w.dies), func(t *testing.T) {
				t.Run("receiver", func(t *testing.T) { unlinkedReceiver(t, open, w) })
				t.Run("sender", func(t *testing.T) { unlinkedSender(t, open, w) })
				t.Run("tries", func(t *testing.T) { unlinkedTries(t, open, w) })
				t.Run("idle", func(t *testing.T) { unlinkedIdle(t, open, w) })
			})
		}
	}
}

func startPipe(t *testing.T, open func(string) (pipe, error)) (dir string, p pipe) {
	t.Helper()
	dir = shmemtest.Dir(t)
	p, err := open(dir)
	check(t, err)
	t.Cleanup(func() { check(t, p.segment.Close()) })
	return dir, p
}

// A receiver that waits is told.
func unlinkedReceiver(t *testing.T, open func(string) (pipe, error), w way) {
	dir, p := startPipe(t, open)
	done := blocked(t, p.recv)
	w.take(t, dir, "q")
	wantUnlinked(t, "the receiver that waits", <-done)
	wantUnlinked(t, "Send", p.send(background))
	wantUnlinked(t, "TrySend", p.trySend(nil))
	wantUnlinked(t, "TryRecv", p.recv(nil))
	if err := p.send(background); err.Error() != "shmem: queue send q: its owner closed it or it was removed; open it again" {
		t.Errorf("the text is %q", err)
	}
}

// A sender that waits is told, and receivers get what was sent.
func unlinkedSender(t *testing.T, open func(string) (pipe, error), w way) {
	dir, p := startPipe(t, open)
	n := 0
	for ; p.trySend(nil) == nil; n++ {
	}
	if n == 0 {
		t.Fatal("nothing was sent")
	}
	done := blocked(t, p.send)
	w.take(t, dir, "q")
	wantUnlinked(t, "the sender that waits", <-done)
	for range n {
		check(t, p.recv(background))
	}
	wantUnlinked(t, "the receiver", p.recv(background))
}

// Calls that do not block are told at once, or when they look after the death of the process that
// took the name.
func unlinkedTries(t *testing.T, open func(string) (pipe, error), w way) {
	dir, p := startPipe(t, open)
	check(t, p.send(background))
	w.take(t, dir, "q")
	if w.tells() {
		wantUnlinked(t, "TrySend", p.trySend(nil))
	}
	check(t, p.recv(nil))
	for {
		err := p.recv(nil)
		if !errors.Is(err, queue.ErrEmpty) {
			wantUnlinked(t, "TryRecv", err)
			return
		}
		if w.tells() {
			t.Fatalf("TryRecv: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// A receiver that polls is told, also if it has found the queue empty for long.
func unlinkedIdle(t *testing.T, open func(string) (pipe, error), w way) {
	dir, p := startPipe(t, open)
	for range 3 {
		want(t, p.recv(nil), queue.ErrEmpty)
		time.Sleep(11 * time.Millisecond) // it looks for the dead every 10 ms
	}
	w.take(t, dir, "q")
	for end := time.Now().Add(shmemtest.DefaultLimit); ; {
		err := p.recv(nil)
		if !errors.Is(err, queue.ErrEmpty) {
			wantUnlinked(t, "TryRecv", err)
			return
		}
		if time.Now().After(end) {
			t.Fatal("TryRecv is not told")
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// TestToldIfTaken kills a process at each step of taking the name. Those who stay are told exactly
// if the name is gone; else the queue goes on.
func TestToldIfTaken(t *testing.T) {
	points := map[string][]step.Point{
		"close": {
			step.OwnGate, step.OwnWord, step.OwnRelease, step.OwnCounted, step.DetachRead,
			step.DetachGate, step.DetachDropped, step.DetachUnlink, step.DetachRelease,
			step.DetachTold, step.DetachDrop, step.DetachRetire, step.DetachSlot,
		},
		"remove": {step.RemoveGate, step.RemoveUnlink, step.RemoveTold},
	}
	for _, form := range []string{"items", "single bytes"} {
		open := pipeForms[form]
		for how, all := range points {
			for _, p := range all {
				t.Run(fmt.Sprintf("%s, %s %s", form, how, p), func(t *testing.T) {
					toldIfTaken(t, open, way{how, p})
				})
			}
		}
	}
}

func toldIfTaken(t *testing.T, open func(string) (pipe, error), w way) {
	dir, p := startPipe(t, open)
	done := blocked(t, p.recv)
	w.take(t, dir, "q")
	if _, err := os.Lstat(filepath.Join(dir, "q")); err != nil {
		wantUnlinked(t, "the receiver that waits", <-done)
		wantUnlinked(t, "Send", p.send(background))
		<-p.segment.Unlinked()
		return
	}
	check(t, p.send(background))
	if err := <-done; err != nil {
		t.Errorf("the name is there, and the receiver gets %v", err)
	}
	select {
	case <-p.segment.Unlinked():
		t.Error("the name is there, and Unlinked is closed")
	default:
	}
}

// TestEndedStaysEnded checks that a queue has one end: by End, or because its name was taken.
func TestEndedStaysEnded(t *testing.T) {
	for form, open := range pipeForms {
		t.Run(form, func(t *testing.T) {
			dir, p := startPipe(t, open)
			check(t, p.end())
			check(t, shmem.Remove(dir, "q"))
			if err := p.recv(background); err != io.EOF {
				t.Errorf("the receiver after End and Remove: %v", err)
			}
			want(t, p.send(background), queue.ErrEnded)
		})
		t.Run(form+" taken", func(t *testing.T) {
			dir, p := startPipe(t, open)
			check(t, shmem.Remove(dir, "q"))
			check(t, p.end())
			wantUnlinked(t, "the receiver after Remove and End", p.recv(background))
			wantUnlinked(t, "the sender after Remove and End", p.send(background))
		})
	}
}
