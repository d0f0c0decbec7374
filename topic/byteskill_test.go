package topic_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/access"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

func init() { roles = append(roles, shmemtest.Role{Name: "bytes-victim", Run: bytesVictim}) }

// bytesVictim does one operation on a topic of bytes and kills itself at a step of it, or before an
// access to the ring.
func bytesVictim(c *shmemtest.Conn) error {
	op, at := c.Args()[1], c.Args()[2]
	t, err := topic.AttachBytes("t", &topic.BytesOptions{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	kill := func(p string) {
		if p == at {
			shmemtest.Die()
		}
	}
	step.Hook(func(p step.Point) { kill(string(p)) })
	access.Hook = func(p string, _ *atomic.Uint64) { kill(p) }
	switch op {
	case "publish":
		err = t.Publish(background, text(100, 40))
	case "batch":
		_, err = t.PublishBatch(background, [][]byte{text(100, 40)})
	case "cancel":
		err = t.PublishFunc(background, 40, func([]byte) error { return errors.New("no") })
	case "subscribe":
		var s *topic.BytesSubscription
		if s, err = t.Subscribe(topic.Oldest); err == nil {
			if _, err = s.Recv(background, nil); err == nil {
				err = s.Close()
			}
		}
	}
	return fmt.Errorf("%s went on: %v", op, err)
}

// TestBytesKillAtEveryStep kills a process at every step of every operation, and before every access
// to the ring where it publishes. The next message finds its room: its bytes are those of the whole
// ring. Subscribers receive all other messages, and the one in between whole or not at all.
func TestBytesKillAtEveryStep(t *testing.T) {
	for _, c := range []struct {
		op string
		at []string
	}{
		{"publish", []string{
			"gate.look", "gate.shut", "pub.tail", "pub.look", "measure.reserved", "low.load",
			"measure.reserve", "pub.slot", "pub.fence", "extent.set.start", "extent.set.size",
			"pub.advance", "gate.open", string(step.TopicClaimed), string(step.TopicWritten),
			"pub.publish", string(step.TopicPublished), string(step.TopicSent),
		}},
		{"batch", []string{string(step.TopicWritten), string(step.TopicSent)}},
		{"cancel", []string{"pub.cancel", string(step.TopicCanceled)}},
		{"subscribe", []string{
			string(step.TopicHeld), "read.look", string(step.TopicRead), string(step.TopicTold),
			string(step.TopicLeft),
		}},
	} {
		for _, at := range c.at {
			t.Run(c.op+"/"+at, func(t *testing.T) { bytesKillCase(t, c.op, at) })
		}
	}
}

func bytesKillCase(t *testing.T, op, at string) {
	dir := shmemtest.Dir(t)
	tp := openBytes(t, dir, 4, 64, 3)
	s := subscribeBytes(t, tp, topic.Now)
	check(t, tp.Publish(background, text(1, 16)))
	err := shmemtest.Start(t, "bytes-victim", dir, op, at).Wait()
	if !shmemtest.Killed(err) {
		t.Fatalf("not killed: %v", err)
	}
	want := [][]byte{text(1, 16)}
	if at == string(step.TopicPublished) || at == string(step.TopicSent) {
		want = append(want, text(100, 40))
	}
	ctx, cancel := context.WithTimeout(background, 20*time.Second)
	defer cancel()
	const last = 20 // more than there is room for: a dead subscriber must not block the publisher
	size := func(i int) int { return []int{64, 0, 8, 40}[i%4] }
	go func() {
		for i := 2; i < last; i++ {
			check(t, tp.Publish(ctx, text(i, size(i))))
		}
		check(t, tp.End())
	}()
	for i := 2; i < last; i++ {
		want = append(want, text(i, size(i)))
	}
	for i, w := range want {
		b, err := s.Recv(ctx, nil)
		if !bytes.Equal(b, w) || err != nil {
			t.Fatalf("message %d: got %v %v, want %v", i, b, err, w)
		}
	}
	if _, err := s.Recv(ctx, nil); err != io.EOF {
		t.Errorf("%v at the end", err)
	}
	st, err := tp.Stats()
	check(t, err)
	if released := op == "subscribe" && at != string(step.TopicLeft); st.Skipped > 1 ||
		released != (st.Released == 1) || s.Lost() != 0 {
		t.Errorf("%+v, lost %d", st, s.Lost())
	}
	check(t, s.Close())
}
