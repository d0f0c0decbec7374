package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "unread-victim", Run: unreadVictim})
}

// An unreadScenario is what a victim does with a shared queue that has unread messages.
type unreadScenario struct {
	name     string
	attached bool // the parent is attached meanwhile
	do       func(v *reader) error
}

// A reader is a victim with its queue.
type reader struct {
	conn *shmemtest.Conn
	opts queue.Options
	q    *queue.Queue[int64]
}

var unreadScenarios = []unreadScenario{
	{name: "open and close", do: (*reader).openAndClose},
	{name: "open and close beside another", attached: true, do: (*reader).openAndClose},
	{name: "leak", do: func(v *reader) error {
		if err := v.open(); err != nil {
			return err
		}
		return v.q.Leak()
	}},
	{name: "send", do: func(v *reader) error { return v.use(func() error { return v.send(3) }) }},
	{name: "receive one", do: func(v *reader) error { return v.use(v.receive) }},
	{name: "receive all", do: func(v *reader) error {
		return v.use(func() error { return errors.Join(v.receive(), v.receive()) })
	}},
	{name: "receive all beside another", attached: true, do: func(v *reader) error {
		return v.use(func() error { return errors.Join(v.receive(), v.receive()) })
	}},
	{name: "send into a new one", do: func(v *reader) error {
		if err := v.use(func() error { return errors.Join(v.receive(), v.receive()) }); err != nil {
			return err
		}
		return v.use(func() error { return v.send(4) })
	}},
	{name: "reclaim", do: func(v *reader) error {
		for info, err := range shmem.Reclaim(v.opts.Dir) {
			return fmt.Errorf("reclaimed %s (%v)", info.Name, err)
		}
		return nil
	}},
}

func (v *reader) open() (err error) {
	v.q, err = queue.Open[int64]("q", &v.opts)
	return err
}

func (v *reader) openAndClose() error { return v.use(func() error { return nil }) }

func (v *reader) use(f func() error) error {
	if err := v.open(); err != nil {
		return err
	}
	return errors.Join(f(), v.q.Close())
}

// send reports a message when Send has returned nil.
func (v *reader) send(m int64) error {
	err := v.q.Send(context.Background(), m)
	if err == nil {
		v.conn.Send("sent %d", m)
	}
	return err
}

// receive reports a message before the queue forgets it.
func (v *reader) receive() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second) // if it is lost
	defer cancel()
	return v.q.RecvFunc(ctx, func(m *int64) error {
		v.conn.Send("received %d", *m)
		return nil
	})
}

func unreadVictim(c *shmemtest.Conn) error {
	a := c.Args() // scenario, directory, number of the deadly step or -1: none
	i := slices.IndexFunc(unreadScenarios, func(s unreadScenario) bool { return s.name == a[0] })
	deadly, err := strconv.Atoi(a[2])
	if i < 0 || err != nil {
		return fmt.Errorf("arguments %q", a)
	}
	n := 0
	step.Hook(func(p step.Point) {
		c.Send("step %s", p)
		if n++; n-1 == deadly {
			shmemtest.Die()
		}
	})
	return unreadScenarios[i].do(&reader{conn: c, opts: queue.Options{Dir: a[1], Capacity: 4}})
}

// TestKillUnread kills a process at every step of opening, using and closing a shared queue that has
// unread messages: no message is lost that was sent with nil and not received.
func TestKillUnread(t *testing.T) {
	kills := 0
	reached := map[step.Point]bool{}
	for _, sc := range unreadScenarios {
		t.Run(sc.name, func(t *testing.T) {
			dir := shmemtest.Dir(t)
			whole := sc.run(t, dir, -1)
			for i, p := range whole {
				if raced && reached[p] && (i+kills)%3 > 0 {
					continue
				}
				sc.run(t, dir, i)
				if kills++; t.Failed() {
					break
				}
			}
			for _, p := range whole {
				reached[p] = true
			}
		})
	}
	t.Logf("%d kills in %d scenarios", kills, len(unreadScenarios))
	for _, p := range []step.Point{
		step.DetachUnlock, step.DetachLook, step.DetachUnread, step.DetachDropped, step.ReclaimGate,
	} {
		if !reached[p] && !t.Failed() {
			t.Errorf("step %s is never reached", p)
		}
	}
}

// run runs one victim, which dies at a step or not at all, and checks the books.
func (sc *unreadScenario) run(t *testing.T, dir string, deadly int) (steps []step.Point) {
	t.Helper()
	ctx := context.Background()
	opts := &queue.Options{Dir: dir, Capacity: 4}
	q, err := queue.Create[int64]("q", opts)
	check(t, err)
	check(t, q.Send(ctx, 1))
	check(t, q.Send(ctx, 2))
	if !sc.attached {
		check(t, q.Close())
	}
	sent, received := []int64{1, 2}, map[int64]bool{}
	c := shmemtest.Start(t, "unread-victim", sc.name, dir, strconv.Itoa(deadly))
	for {
		line, err := c.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		verb, rest, _ := strings.Cut(line, " ")
		m, _ := strconv.ParseInt(rest, 10, 64)
		switch verb {
		case "step":
			steps = append(steps, step.Point(rest))
		case "sent":
			sent = append(sent, m)
		case "received":
			received[m] = true
		}
	}
	if err := c.Wait(); deadly < 0 && err != nil || deadly >= 0 && !shmemtest.Killed(err) {
		t.Errorf("the victim that is to die at step %d: %v after %v", deadly, err, steps)
	}
	if sc.attached {
		check(t, q.Close())
	}
	reclaim(t, dir)
	found := remaining(t, opts)
	for _, m := range sent {
		if !received[m] && !found[m] {
			t.Errorf("message %d is lost; found %v, received %v; step %d of %v", m, found, received,
				deadly, steps)
		}
	}
	reclaim(t, dir)
	wantNames(t, dir)
	return steps
}

// remaining receives what is left, and removes the queue.
func remaining(t *testing.T, opts *queue.Options) map[int64]bool {
	t.Helper()
	found := map[int64]bool{}
	info, err := shmem.Stat(opts.Dir, "q")
	if errors.Is(err, fs.ErrNotExist) {
		return found
	}
	check(t, err)
	q, err := queue.Attach[int64]("q", opts)
	if err != nil || info.State != shmem.Idle {
		t.Fatalf("%v: %v", info.State, err)
	}
	for range info.Unread {
		m, err := q.Recv(context.Background())
		check(t, err)
		found[m] = true
	}
	check(t, q.Own())
	check(t, q.Close())
	return found
}
