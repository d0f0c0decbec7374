// Package metricstage stages a directory in which every metric has a sample, for the tests of
// package metrics and of the collectors.
package metricstage

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/blob"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// Role is the child that holds everything.
var Role = shmemtest.Role{Name: "metricstage", Run: run}

// config has a lock, which the child holds.
type config struct {
	Limit uint64
	Mu    psync.Mutex
}

// A Stage is a directory with segments: config (a box), jobs (a queue), lines (a queue.Bytes),
// single (a Single queue.Bytes), ticks (a topic), users (a map), pages (a cache), images (a pool),
// squares (a service), raw (bytes) and foreign (a file).
//
// Child holds config.Mu, has taken one of two jobs, and is a subscriber of ticks two messages
// behind.
type Stage struct {
	Dir   string
	Child *shmemtest.Child
}

// Start stages everything. At the end of the test all is removed.
func Start(t *testing.T) *Stage {
	t.Helper()
	s := &Stage{Dir: shmemtest.Dir(t)}
	t.Cleanup(func() {
		for info, err := range shmem.List(s.Dir) {
			if err == nil {
				err = shmem.Remove(s.Dir, info.Name)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	if err := os.WriteFile(s.Dir+"/foreign", make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := open(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	s.Child = shmemtest.Start(t, Role.Name, s.Dir)
	s.Child.Expect(t, "ready")
	return s
}

// closers are closed at the end.
type closers struct {
	all []interface{ Close() error }
	err error
}

func (c *closers) close() {
	for _, c := range c.all {
		_ = c.Close()
	}
}

// add adds what was opened, or the error.
func (c *closers) add(v interface{ Close() error }, err error) {
	if err != nil {
		c.err = errors.Join(c.err, err)
		return
	}
	c.all = append(c.all, v)
}

// open opens all segments and fills them.
func open(dir string) (*closers, error) {
	ctx, c := context.Background(), &closers{}
	kept := shmem.Options{Dir: dir, Lifetime: shmem.Kept}
	config, err := shmem.Open[config]("config", &kept)
	c.add(config, err)
	raw, err := shmem.CreateSegment("raw", 4096, &kept)
	c.add(raw, err)
	jobs, err := queue.Open[int64]("jobs",
		&queue.Options{Dir: dir, Capacity: 16, Lifetime: shmem.Kept})
	c.add(jobs, err)
	lines, err := queue.OpenBytes("lines", &queue.BytesOptions{
		Dir: dir, Lifetime: shmem.Kept, Stamped: true,
	})
	c.add(lines, err)
	single, err := queue.OpenBytes("single",
		&queue.BytesOptions{Dir: dir, Single: true, Lifetime: shmem.Kept})
	c.add(single, err)
	ticks, err := topic.Open[int64]("ticks",
		&topic.Options{Dir: dir, Capacity: 16, Holds: 2, Lifetime: shmem.Kept})
	c.add(ticks, err)
	users, err := kv.Open[uint64, uint64]("users", &kv.Options{Dir: dir, Lifetime: shmem.Kept})
	c.add(users, err)
	pages, err := kv.OpenCache[string]("pages",
		&kv.CacheOptions{Dir: dir, Size: 64 << 10, Lifetime: shmem.Kept})
	c.add(pages, err)
	images, err := blob.Open("images", &blob.Options{
		Dir: dir, Classes: []blob.Class{{Size: 1024, Count: 4}}, Lifetime: shmem.Kept,
	})
	c.add(images, err)
	served := serve(dir)
	c.add(served, nil)
	squares, err := rpc.Dial[int64, int64](ctx, "squares", &rpc.DialOptions{Dir: dir})
	c.add(squares, err)
	if c.err != nil {
		c.close()
		return c, c.err
	}
	_, err = images.TryTake(10) // until the pool is closed
	return c, errors.Join(
		err, squares.Call(ctx, new(int64), new(int64)),
		jobs.Send(ctx, 1), jobs.Send(ctx, 2),
		lines.Send(ctx, []byte("one line")), single.Send(ctx, []byte("another")),
		ticks.Publish(ctx, 1), users.Set(ctx, 1, 2))
}

// A server serves "squares" until it is closed.
type server struct {
	cancel context.CancelFunc
	ended  chan error
}

func serve(dir string) *server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{cancel, make(chan error, 1)}
	go func() {
		s.ended <- rpc.Serve(ctx, "squares", func(_ context.Context, q, r *int64) error {
			*r = *q * *q
			return nil
		}, &rpc.ServeOptions{Dir: dir})
	}()
	return s
}

func (s *server) Close() error {
	s.cancel()
	return <-s.ended
}

// run is the child: it holds what a Stage says, until it is killed.
func run(c *shmemtest.Conn) error {
	ctx := context.Background()
	dir := c.Args()[0]
	b, err := shmem.Attach[config]("config", &shmem.Options{Dir: dir})
	if err != nil {
		return err
	}
	if err := b.Value().Mu.Lock(ctx); err != nil {
		return err
	}
	jobs, err := queue.Attach[int64]("jobs", &queue.Options{Dir: dir, LeaseTimeout: time.Hour})
	if err != nil {
		return err
	}
	if _, err := jobs.Take(ctx); err != nil {
		return err
	}
	ticks, err := topic.Attach[int64]("ticks", &topic.Options{Dir: dir})
	if err != nil {
		return err
	}
	if _, err := ticks.Subscribe(topic.Last(0)); err != nil {
		return err
	}
	if err := errors.Join(ticks.Publish(ctx, 2), ticks.Publish(ctx, 3)); err != nil {
		return err
	}
	c.Send("ready")
	_, err = c.Recv()
	return err
}

// Owner is the child that owns a segment of the name "owned".
var Owner = shmemtest.Role{Name: "metricowner", Run: func(c *shmemtest.Conn) error {
	_, err := shmem.CreateSegment("owned", 1, &shmem.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	c.Send("ready")
	_, err = c.Recv()
	return err
}}
