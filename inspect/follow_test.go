package inspect_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// TestFollow: a follower gets the messages in order, counts lost ones, skips that of a dead
// publisher, and sees the end.
func TestFollow(t *testing.T) {
	dir := sharedDir(t)
	tp, err := topic.Create[message]("heard", &topic.Options{Dir: dir, Capacity: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	s := look(t, dir, "heard")
	f, err := s.Follow(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := f.Try(); ok || err != nil {
		t.Fatal(ok, err)
	}
	publish := func(n ...uint64) {
		for _, n := range n {
			if err := tp.Publish(t.Context(), message{N: n}); err != nil {
				t.Fatal(err)
			}
		}
	}
	gets := func(f *inspect.Follower, seq, lost uint64) {
		t.Helper()
		m, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n, err := m.Value.At("N"); err != nil || n.String() != fmt.Sprint(seq) || m.Seq != seq ||
			f.Lost() != lost {
			t.Errorf("message %d, N %v, lost %d; want %d, %d (%v)", m.Seq, n, f.Lost(), seq, lost,
				err)
		}
	}
	publish(0, 1)
	gets(f, 0, 0)
	gets(f, 1, 0)
	publish(2, 3, 4, 5, 6, 7)
	for seq := range uint64(4) {
		gets(f, seq+4, 2)
	}
	_ = shmemtest.Start(t, "lastwords", dir).Wait() // it dies while it writes message 8
	publish(9)
	gets(f, 9, 2)
	old, err := s.Follow(inspect.FromOldest)
	if err != nil {
		t.Fatal(err)
	}
	gets(old, 6, 0)
	now, err := s.Follow(inspect.FromNow)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := now.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := tp.End(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*inspect.Follower{f, now} {
		if _, err := f.Next(t.Context()); err != io.EOF {
			t.Error(err)
		}
	}
	b, err := shmem.Create[config]("box", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := look(t, dir, "box").Follow(0); !errors.Is(err, shmem.ErrMismatch) {
		t.Error(err)
	}
}

// TestFollowGone: Next fails when no process can publish any more.
func TestFollowGone(t *testing.T) {
	dir := sharedDir(t)
	c := shmemtest.Start(t, "speaker", dir)
	c.Expect(t, "up")
	f, err := look(t, dir, "heard").Follow(inspect.FromNow)
	if err != nil {
		t.Fatal(err)
	}
	c.Kill()
	if _, err := f.Next(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// speaker owns a topic and stays.
func speaker(c *shmemtest.Conn) error {
	tp, err := topic.Create[message]("heard", &topic.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	defer tp.Close()
	c.Send("up")
	_, err = c.Recv()
	return err
}

// TestFollowHostile: with any bytes in the topic's memory a follower returns a message or an error,
// and does not hang.
func TestFollowHostile(t *testing.T) {
	dir := sharedDir(t)
	tp, err := topic.Create[[24]byte]("heard", &topic.Options{Dir: dir, Capacity: 5, Holds: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	seed := time.Now().UnixNano()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	size := int64(tp.Segment().Size())
	answers, failures := 0, 0
	for range 3000 {
		if _, err := tp.Segment().WriteAt(make([]byte, size), 0); err != nil { // a new topic
			t.Fatal(err)
		}
		for range r.IntN(8) {
			if err := tp.TryPublish([24]byte{}); err != nil {
				t.Fatal(err)
			}
		}
		b := make([]byte, 8)
		for range 1 + r.IntN(4) {
			binary.NativeEndian.PutUint64(b, r.Uint64()>>r.IntN(64))
			if _, err := tp.Segment().WriteAt(b, r.Int64N(size/8)*8); err != nil {
				t.Fatal(err)
			}
		}
		s := look(t, dir, "heard")
		if _, err := s.Status(); err != nil {
			t.Fatal(err)
		}
		from := []uint64{0, inspect.FromNow, inspect.FromOldest,
			r.Uint64() >> r.IntN(64)}[r.IntN(4)]
		f, err := s.Follow(from)
		for range 20 {
			if err == nil {
				_, _, err = f.Try()
			}
		}
		if err == nil || err == io.EOF {
			answers++
		} else if failures++; !errors.Is(err, shmem.ErrCorrupt) &&
			!errors.Is(err, shmem.ErrUnlinked) {
			t.Fatal(err)
		}
		_ = s.Close()
	}
	t.Log(answers, "answers,", failures, "errors")
}

// TestFollowGrows: a follower sees the fields that a newer program has appended meanwhile.
func TestFollowGrows(t *testing.T) {
	type older struct{ N uint64 }
	type newer struct{ N, More uint64 }
	dir := sharedDir(t)
	o := &topic.Options{Dir: dir, Capacity: 8, Reserve: 64}
	first, err := topic.Create[older]("grows", o)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	f, err := look(t, dir, "grows").Follow(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Publish(t.Context(), older{1}); err != nil {
		t.Fatal(err)
	}
	want := func(n int, text string) {
		t.Helper()
		m, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(m.Value); m.Value.Len() != n || got != text {
			t.Errorf("message %d is %s, want %s", m.Seq, got, text)
		}
	}
	want(1, "{N 1}")
	o.Append = true
	second, err := topic.Open[newer]("grows", o)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.Publish(t.Context(), newer{2, 3}); err != nil {
		t.Fatal(err)
	}
	if err := first.Publish(t.Context(), older{4}); err != nil {
		t.Fatal(err)
	}
	want(2, "{N 2, More 3}")
	want(2, "{N 4, More 0}")
}

// All of a message follows from N.
type message struct {
	N    uint64
	Tail [200]uint64
}

// sharedDir returns a directory in memory, where the system has that.
func sharedDir(t *testing.T) string {
	root := sys.DefaultDir
	if sys.DiskOnly {
		root = ""
	}
	dir, err := os.MkdirTemp(root, "polyglot-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
