package topic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

func init() { roles = append(roles, shmemtest.Role{Name: "victim", Run: victim}) }

// victim does one operation on a topic and kills itself at a step of it.
func victim(c *shmemtest.Conn) error {
	op, at := c.Args()[1], step.Point(c.Args()[2])
	t, err := topic.Attach[int]("t", &topic.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	step.Hook(func(p step.Point) {
		if p == at {
			shmemtest.Die()
		}
	})
	switch op {
	case "publish":
		err = t.Publish(background, 100)
	case "batch":
		_, err = t.PublishBatch(background, []int{100})
	case "cancel":
		err = t.PublishFunc(background, func(*int) error { return errors.New("no") })
	case "end":
		err = t.End()
	case "subscribe":
		var s *topic.Subscription[int]
		if s, err = t.Subscribe(topic.Oldest); err == nil {
			if _, err = s.Recv(background); err == nil {
				err = s.Close()
			}
		}
	}
	return fmt.Errorf("%s went on: %v", op, err)
}

// killCases are the steps at which each operation is killed.
var killCases = []struct {
	op string
	at []step.Point
}{
	{"publish", []step.Point{
		step.TopicClaimed, step.TopicWritten, step.TopicPublished, step.TopicSent,
	}},
	{"batch", []step.Point{
		step.TopicClaimed, step.TopicWritten, step.TopicPublished, step.TopicSent,
	}},
	{"cancel", []step.Point{step.TopicClaimed, step.TopicCanceled}},
	{"end", []step.Point{step.TopicEnded}},
	{"subscribe", []step.Point{step.TopicHeld, step.TopicRead, step.TopicTold, step.TopicLeft}},
}

// TestKillAtEveryStep kills a process at every step of every operation. Subscribers receive what
// was published before and after, in order, and the message in between whole or not at all.
// Publishers go on. Nothing blocks.
func TestKillAtEveryStep(t *testing.T) {
	reached := map[step.Point]bool{}
	for _, c := range killCases {
		for _, at := range c.at {
			t.Run(c.op+"/"+string(at), func(t *testing.T) {
				reached[at] = true
				killCase(t, c.op, at)
			})
		}
	}
	t.Run("repair", func(t *testing.T) { killedRepairing(t); reached[step.TopicRepaired] = true })
	for _, p := range step.Topic {
		if !reached[p] && !t.Failed() {
			t.Errorf("no test kills at %s", p)
		}
	}
}

func killCase(t *testing.T, op string, at step.Point) {
	dir := shmemtest.Dir(t)
	tp := open[int](t, dir, 4, 3)
	s := subscribe(t, tp, topic.Now)
	check(t, tp.Publish(background, 1))
	if err := shmemtest.Start(t, "victim", dir, op, string(at)).Wait(); !shmemtest.Killed(err) {
		t.Fatalf("not killed: %v", err)
	}
	want := []int{1}
	if at == step.TopicPublished || at == step.TopicSent {
		want = append(want, 100)
	}
	if op != "end" {
		const last = 40 // more than there is room for: a dead subscriber must not block the publisher
		go func() {
			for i := 2; i < last; i++ {
				check(t, tp.Publish(background, i))
			}
			check(t, tp.End())
		}()
		for i := 2; i < last; i++ {
			want = append(want, i)
		}
	}
	for _, w := range want {
		ctx, cancel := context.WithTimeout(background, 10*time.Second)
		v, err := s.Recv(ctx)
		cancel()
		if v != w || err != nil {
			t.Fatalf("got %d %v, want %d", v, err, w)
		}
	}
	if _, err := s.Recv(background); err != io.EOF {
		t.Errorf("%v at the end", err)
	}
	st, err := tp.Stats()
	check(t, err)
	skipped := at == step.TopicClaimed || at == step.TopicWritten
	released := op == "subscribe" && at != step.TopicLeft
	if skipped != (st.Skipped == 1) || released != (st.Released == 1) || s.Lost() != 0 {
		t.Errorf("%+v, lost %d", st, s.Lost())
	}
	check(t, s.Close())
}

// killedRepairing kills a process in a message, and the next one when it has repaired that. A third
// one goes on.
func killedRepairing(t *testing.T) {
	dir := shmemtest.Dir(t)
	tp := open[int](t, dir, 4, 3)
	for _, c := range [][2]string{
		{"publish", string(step.TopicClaimed)}, {"subscribe", string(step.TopicRepaired)},
	} {
		err := shmemtest.Start(t, "victim", dir, c[0], c[1]).Wait()
		if !shmemtest.Killed(err) {
			t.Fatalf("not killed: %v", err)
		}
	}
	s := subscribe(t, tp, topic.Oldest)
	for i := range 9 {
		check(t, tp.Publish(background, i))
		if v, err := s.Recv(background); v != i || err != nil {
			t.Error(v, err)
		}
	}
	check(t, s.Close())
}
