package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

func init() { roles = append(roles, shmemtest.Role{Name: "dying", Run: dyingRole}) }

// A guarded value has a lock.
type guarded struct {
	N  int64
	Mu psync.Mutex
}

// dyingRole goes into the middle of something, in which it is killed.
func dyingRole(c *shmemtest.Conn) error {
	here := func() error { // the middle
		c.Send("ready")
		_, err := c.Recv()
		return err
	}
	do, ok := dying[c.Args()[0]]
	if !ok {
		return fmt.Errorf("no role %q", c.Args()[0])
	}
	return do(c.Args()[1], here)
}

// dying are the things in which a child dies. Segments are there, except "owned".
var dying = map[string]func(dir string, here func() error) error{
	"update": func(dir string, here func() error) error {
		b, err := shmem.Attach[guarded]("box", &shmem.Options{Dir: dir})
		if err != nil {
			return err
		}
		return b.Update(context.Background(), func(g *guarded) error {
			g.N = -1
			return here()
		})
	},
	"lock": func(dir string, here func() error) error {
		b, err := shmem.Attach[guarded]("box", &shmem.Options{Dir: dir})
		if err != nil {
			return err
		}
		return errors.Join(b.Value().Mu.Lock(context.Background()), here())
	},
	"own": func(dir string, here func() error) error {
		_, err := shmem.Create[guarded]("owned", &shmem.Options{Dir: dir})
		return errors.Join(err, here())
	},
	"take": func(dir string, here func() error) error {
		q, err := queue.Attach[int64]("queue", &queue.Options{Dir: dir})
		if err != nil {
			return err
		}
		return q.RecvFunc(context.Background(), func(*int64) error { return here() })
	},
	"send": func(dir string, here func() error) error {
		q, err := queue.Attach[int64]("queue", &queue.Options{Dir: dir})
		if err != nil {
			return err
		}
		return q.SendFunc(context.Background(), func(*int64) error { return here() })
	},
	"single": func(dir string, here func() error) error {
		q, err := queue.AttachBytes("single", &queue.BytesOptions{Dir: dir})
		if err != nil {
			return err
		}
		return q.RecvFunc(context.Background(), func([]byte) error { return here() })
	},
	"publish": func(dir string, here func() error) error {
		p, err := topic.Attach[int64]("topic", &topic.Options{Dir: dir})
		if err != nil {
			return err
		}
		for i := range int64(10) {
			if err := p.Publish(context.Background(), i); err != nil {
				return err
			}
		}
		return p.PublishFunc(context.Background(), func(*int64) error { return here() })
	},
	"map": func(dir string, here func() error) error {
		m, err := kv.Attach[int64, int64]("map", &kv.Options{Dir: dir})
		if err != nil {
			return err
		}
		return m.Update(context.Background(), 1, func(*int64, bool) (bool, error) {
			return true, here()
		})
	},
}

// killIn kills a child in the middle of something, and returns its pid.
func killIn(t *testing.T, what, dir string) int {
	t.Helper()
	c := shmemtest.Start(t, "dying", what, dir)
	c.Expect(t, "ready")
	pid := c.Pid()
	c.Kill()
	return pid
}

// A recorder is a slog.Handler for tests. Before it takes a record it waits for the gate, if it has
// one.
type recorder struct {
	records chan string
	gate    chan struct{}
}

func newRecorder() *recorder { return &recorder{records: make(chan string, 100)} }

func (r *recorder) logger() *slog.Logger { return slog.New(r) }

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }

func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	text := rec.Message
	rec.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	if r.gate != nil {
		<-r.gate
	}
	r.records <- text
	return nil
}

// expect receives records until there was each of those wanted.
func (r *recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, w := range want {
		missing[w] = true
	}
	var got []string
	timeout := time.After(shmemtest.DefaultLimit)
	for len(missing) > 0 {
		select {
		case text := <-r.records:
			got = append(got, text)
			delete(missing, text)
		case <-timeout:
			t.Fatalf("records are %q, these are missing: %v", got, missing)
		}
	}
}

// TestLogger kills a process in the middle of something. Another one, which has a Logger, gets a
// record of what the library does about it.
func TestLogger(t *testing.T) {
	ctx := context.Background()
	box := func(t *testing.T, dir string, l *slog.Logger) *shmem.Box[guarded] {
		b, err := shmem.Open[guarded]("box", &shmem.Options{Dir: dir, Logger: l})
		return opened(t, b, err)
	}
	numbers := func(t *testing.T, dir string, l *slog.Logger) *queue.Queue[int64] {
		q, err := queue.Open[int64]("queue", &queue.Options{Dir: dir, Logger: l,
			Lifetime: shmem.Owned})
		check(t, err)
		t.Cleanup(func() { q.Close() })
		return q
	}
	t.Run("recovered value", func(t *testing.T) {
		dir, r := shmemtest.Dir(t), newRecorder()
		b := box(t, dir, r.logger())
		pid := killIn(t, "update", dir)
		if v, err := b.Load(ctx); err != nil || v.N != 0 {
			t.Fatalf("Load: %d, %v", v.N, err)
		}
		check(t, b.Update(ctx, func(g *guarded) error { g.N = 1; return nil }))
		r.expect(t, fmt.Sprintf("shmem: owner died segment=box what=lock count=1 pid=%d", pid),
			"shmem: recovered segment=box what=value count=1")
	})
	t.Run("recovered lock", func(t *testing.T) {
		dir, r := shmemtest.Dir(t), newRecorder()
		b := box(t, dir, r.logger())
		pid := killIn(t, "lock", dir)
		nothing := func() error { return nil }
		check(t, b.Value().Mu.Do(ctx, nothing, nothing))
		r.expect(t, fmt.Sprintf("shmem: owner died segment=box what=lock count=1 pid=%d", pid),
			"shmem: recovered segment=box what=lock count=1")
	})
	t.Run("recovered map", func(t *testing.T) {
		dir, r := shmemtest.Dir(t), newRecorder()
		m, err := kv.Open[int64, int64]("map", &kv.Options{Dir: dir, Logger: r.logger(),
			Lifetime: shmem.Owned})
		check(t, err)
		defer m.Close()
		pid := killIn(t, "map", dir)
		check(t, m.Set(ctx, 1, 2))
		r.expect(t, fmt.Sprintf("shmem: owner died segment=map what=lock count=1 pid=%d", pid),
			"shmem: recovered segment=map what=map count=1")
	})
	t.Run("reclaimed", func(t *testing.T) {
		dir, r := shmemtest.Dir(t), newRecorder()
		pid := killIn(t, "own", dir)
		b, err := shmem.Open[guarded]("owned", &shmem.Options{Dir: dir, Logger: r.logger()})
		opened(t, b, err)
		r.expect(t,
			fmt.Sprintf("shmem: reclaimed segment=owned what=segment count=1 pid=%d", pid))
	})
	t.Run("owner died", func(t *testing.T) {
		dir, r := shmemtest.Dir(t), newRecorder()
		c := shmemtest.Start(t, "dying", "own", dir)
		c.Expect(t, "ready")
		b, err := shmem.Attach[guarded]("owned", &shmem.Options{Dir: dir, Logger: r.logger()})
		check(t, err)
		c.Kill()
		check(t, b.Close())
		r.expect(t, fmt.Sprintf("shmem: owner died segment=owned what=segment count=1 pid=%d",
			c.Pid()))
	})
	t.Run("redelivered", func(t *testing.T) {
		dir, r := shmemtest.Dir(t), newRecorder()
		q := numbers(t, dir, r.logger())
		check(t, q.Send(ctx, 7))
		pid := killIn(t, "take", dir)
		if v, err := q.Recv(ctx); err != nil || v != 7 {
			t.Fatalf("Recv: %d, %v", v, err)
		}
		r.expect(t, fmt.Sprintf("shmem: redelivered segment=queue what=message count=1 pid=%d",
			pid))
	})
	t.Run("redelivered in a Single queue", func(t *testing.T) {
		dir, r := shmemtest.Dir(t), newRecorder()
		q, err := queue.OpenBytes("single", &queue.BytesOptions{Dir: dir, Logger: r.logger(),
			Single: true, Lifetime: shmem.Owned})
		check(t, err)
		defer q.Close()
		check(t, q.Send(ctx, []byte("x")))
		pid := killIn(t, "single", dir)
		if _, err := q.Recv(ctx, nil); err != nil {
			t.Fatal(err)
		}
		r.expect(t, fmt.Sprintf("shmem: redelivered segment=single what=message count=1 pid=%d",
			pid))
	})
	t.Run("skipped", func(t *testing.T) {
		dir, r := shmemtest.Dir(t), newRecorder()
		q := numbers(t, dir, r.logger())
		pid := killIn(t, "send", dir)
		check(t, q.Send(ctx, 8))
		if v, err := q.Recv(ctx); err != nil || v != 8 {
			t.Fatalf("Recv: %d, %v", v, err)
		}
		r.expect(t, fmt.Sprintf("shmem: skipped segment=queue what=message count=1 pid=%d", pid))
	})
	t.Run("lost, and skipped in a topic", func(t *testing.T) {
		dir, r := shmemtest.Dir(t), newRecorder()
		p, err := topic.Open[int64]("topic", &topic.Options{Dir: dir, Capacity: 4,
			Logger: r.logger(), Lifetime: shmem.Owned})
		check(t, err)
		defer p.Close()
		sub, err := p.Subscribe(topic.Now)
		check(t, err)
		pid := killIn(t, "publish", dir) // ten messages, and one that is not published
		check(t, p.Publish(ctx, 11))
		for last := int64(0); last != 11; {
			last, err = sub.Recv(ctx)
			check(t, err)
		}
		if sub.Lost() < 7 { // of eleven, four are kept
			t.Errorf("%d messages were lost", sub.Lost())
		}
		r.expect(t, fmt.Sprintf("shmem: lost segment=topic what=message count=%d", sub.Lost()),
			fmt.Sprintf("shmem: skipped segment=topic what=message count=1 pid=%d", pid))
	})
}

// TestSlowLogger: a logger that blocks holds up neither the call that has something to log nor
// another attachment, and Close.
func TestSlowLogger(t *testing.T) {
	ctx := context.Background()
	dir, r := shmemtest.Dir(t), newRecorder()
	r.gate = make(chan struct{})
	defer close(r.gate)
	b, err := shmem.Open[guarded]("box", &shmem.Options{Dir: dir, Logger: r.logger()})
	check(t, err)
	other := attach[guarded](t, dir, "box")
	for _, what := range []string{"update", "lock", "update"} {
		killIn(t, what, dir)
		nothing := func() error { return nil }
		check(t, b.Update(ctx, func(g *guarded) error { g.N++; return nil }))
		check(t, b.Value().Mu.Do(ctx, nothing, nothing))
		check(t, other.Update(ctx, func(g *guarded) error { g.N++; return nil }))
		check(t, other.Value().Mu.Do(ctx, nothing, nothing))
	}
	check(t, b.Close())
	select {
	case text := <-r.records:
		t.Errorf("the logger does not block: %s", text)
	default:
	}
}
