package topic_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

func init() { roles = append(roles, shmemtest.Role{Name: "late", Run: lateRole}) }

// armed hooks the steps, and returns a channel that is closed when a goroutine waits.
func armed() <-chan struct{} {
	armed := make(chan struct{})
	once := sync.OnceFunc(func() { close(armed) })
	step.Hook(func(p step.Point) {
		if p == step.WaitArmed {
			once()
		}
	})
	return armed
}

// lateRole publishes to a full topic, closes the subscription that is in the way while another one
// leaves room for less than half, and says that the publisher has gone on. No waiter looks by
// itself.
func lateRole(c *shmemtest.Conn) error {
	wait.LookLate(time.Hour)
	tp, err := topic.Open[int]("t", &topic.Options{Dir: c.Args()[0], Capacity: 8, Holds: 2})
	if err != nil {
		return err
	}
	first, err1 := tp.Subscribe(topic.Now)
	second, err2 := tp.Subscribe(topic.Now)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for i := range tp.Cap() {
		if err := tp.TryPublish(i); err != nil {
			return err
		}
	}
	if _, err := second.TryRecv(); err != nil {
		return err
	}
	armed := armed()
	published := make(chan error)
	go func() { published <- tp.Publish(context.Background(), 8) }()
	<-armed
	if err := first.Close(); err != nil {
		return err
	}
	c.Send("published %v", <-published)
	return errors.Join(second.Close(), tp.Close())
}

// TestCloseLeavesLittleRoom: a publisher goes on when a subscription in its way is closed, also
// where there is little room then.
func TestCloseLeavesLittleRoom(t *testing.T) {
	c := shmemtest.Start(t, "late", shmemtest.Dir(t))
	c.Expect(t, "published <nil>")
	check(t, c.Wait())
}

// TestCanceledWithLittleRoom: a publisher whose context ends publishes if there is room, though less
// than it waits for.
func TestCanceledWithLittleRoom(t *testing.T) {
	defer step.Hook(nil)
	for _, own := range []bool{false, true} {
		tp := open[int](t, shmemtest.Dir(t), 8, 1)
		p, err := tp.Publisher()
		check(t, err)
		publish := p.Publish
		if own {
			publish = tp.Publish
		}
		s := subscribe(t, tp, topic.Now)
		for i := range tp.Cap() {
			check(t, tp.TryPublish(i))
		}
		armed := armed()
		ctx, cancel := context.WithCancel(background)
		published := make(chan error)
		go func() { published <- publish(ctx, 8) }()
		<-armed
		_, err = s.TryRecv()
		check(t, err)
		cancel()
		check(t, <-published)
		want(t, publish(ctx, 9), context.Canceled)
		check(t, s.Close())
	}
}
