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
	armed := make(chan struct{})
	once := sync.OnceFunc(func() { close(armed) })
	step.Hook(func(p step.Point) {
		if p == step.WaitArmed {
			once()
		}
	})
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
