package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

func init() { roles = append(roles, shmemtest.Role{Name: "creator", Run: creatorRole}) }

// creatorRole creates the segment "w" of a kind when it is asked to.
func creatorRole(c *shmemtest.Conn) error {
	if _, err := c.Recv(); err != nil {
		return err
	}
	a, err := waitKinds[c.Args()[1]].create(c.Args()[0])
	if err != nil {
		return err
	}
	c.Send("created")
	_, _ = c.Recv()
	return a.Close()
}

// An opened segment, of whatever kind.
type anyKind interface {
	Name() string
	Linked() bool
	Unlinked() <-chan struct{}
	Close() error
}

// A waitKind is how a kind of segment is created and waited for.
type waitKind struct {
	create func(dir string) (anyKind, error)
	wait   func(ctx context.Context, dir string) (anyKind, error)
	op     string
}

var waitKinds = map[string]waitKind{
	"box": {
		func(dir string) (anyKind, error) {
			return some(shmem.Create[point]("w", &shmem.Options{Dir: dir}))
		},
		func(ctx context.Context, dir string) (anyKind, error) {
			return some(shmem.AttachWait[point](ctx, "w", &shmem.Options{Dir: dir}))
		},
		"attach",
	},
	"segment": {
		func(dir string) (anyKind, error) {
			return some(shmem.CreateSegment("w", 64, &shmem.Options{Dir: dir}))
		},
		func(ctx context.Context, dir string) (anyKind, error) {
			return some(shmem.AttachSegmentWait(ctx, "w", &shmem.Options{Dir: dir}))
		},
		"attach",
	},
	"queue": {
		func(dir string) (anyKind, error) {
			return some(queue.Create[int]("w", &queue.Options{Dir: dir, Lifetime: shmem.Owned}))
		},
		func(ctx context.Context, dir string) (anyKind, error) {
			return some(queue.AttachWait[int](ctx, "w", &queue.Options{Dir: dir}))
		},
		"queue attach",
	},
	"bytes": {
		func(dir string) (anyKind, error) {
			return some(queue.CreateBytes("w", &queue.BytesOptions{Dir: dir, Lifetime: shmem.Owned}))
		},
		func(ctx context.Context, dir string) (anyKind, error) {
			return some(queue.AttachBytesWait(ctx, "w", &queue.BytesOptions{Dir: dir}))
		},
		"queue attach",
	},
	"topic": {
		func(dir string) (anyKind, error) {
			return some(topic.Create[int]("w", &topic.Options{Dir: dir, Lifetime: shmem.Owned}))
		},
		func(ctx context.Context, dir string) (anyKind, error) {
			return some(topic.AttachWait[int](ctx, "w", &topic.Options{Dir: dir}))
		},
		"topic attach",
	},
}

// some returns no interface around a nil pointer.
func some[T anyKind](v T, err error) (anyKind, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

// TestAttachWait waits for each kind of segment that another process creates, and is told when its
// owner closes it.
func TestAttachWait(t *testing.T) {
	for kind, w := range waitKinds {
		t.Run(kind, func(t *testing.T) {
			dir := shmemtest.Dir(t)
			c := shmemtest.Start(t, "creator", dir, kind)
			ctx, cancel := context.WithTimeout(context.Background(), shmemtest.DefaultLimit)
			defer cancel()
			type result struct {
				anyKind
				error
			}
			done := make(chan result, 1)
			go func() {
				s, err := w.wait(ctx, dir)
				done <- result{s, err}
			}()
			c.Send("create")
			r := <-done
			check(t, r.error)
			defer r.Close()
			c.Expect(t, "created")
			if r.Name() != "w" || !r.Linked() {
				t.Errorf("name %q, linked %v", r.Name(), r.Linked())
			}
			select {
			case <-r.Unlinked():
				t.Error("it is unlinked")
			default:
			}
			check(t, c.Close())
			<-r.Unlinked()
			if r.Linked() {
				t.Error("it is linked")
			}
		})
	}
}

func TestAttachWaitErrors(t *testing.T) {
	dir := shmemtest.Dir(t)
	for kind, w := range waitKinds {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		s, err := w.wait(ctx, dir)
		want := fmt.Sprintf("shmem: %s w: context deadline exceeded; there is no %s yet", w.op,
			filepath.Join(dir, "w"))
		if s != nil || !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
			t.Errorf("%s: %v, %v", kind, s, err)
		}
		cancel()
		none := filepath.Join(dir, "none")
		_, err = w.wait(context.Background(), none)
		wantErr(t, err, fs.ErrNotExist, none, "Options.Dir")
	}
	for kind, w := range waitKinds {
		for other, create := range waitKinds {
			if kind == other || kind == "segment" || other == "segment" {
				continue
			}
			s, err := create.create(dir)
			check(t, err)
			if _, err := w.wait(context.Background(), dir); !errors.Is(err, shmem.ErrMismatch) {
				t.Errorf("%s where there is a %s: %v", kind, other, err)
			}
			check(t, s.Close())
		}
	}
	_, err := shmem.AttachWait[point](context.Background(), "w",
		&shmem.Options{Dir: dir, Timeout: -1})
	wantErr(t, err, shmem.ErrBadOption, "Timeout")
	_, err = queue.AttachWait[int](context.Background(), "w", &queue.Options{Dir: dir, Capacity: -1})
	wantErr(t, err, shmem.ErrBadOption, "Capacity")
	_, err = topic.AttachWait[int](context.Background(), "w", &topic.Options{Dir: dir, Holds: -1})
	wantErr(t, err, shmem.ErrBadOption, "Holds")
}
