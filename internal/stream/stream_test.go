package stream_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

func TestMain(m *testing.M) { shmemtest.Main(m) }

var background = context.Background()

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestErrors(t *testing.T) {
	var e stream.Errors
	e.Init("queue send", "jobs", stream.Words{Full: "use Send", Empty: "use Recv", End: "sender"})
	if e.Of(nil) != nil || e.Of(io.EOF) != io.EOF {
		t.Error("nil and io.EOF are not returned as they are")
	}
	once := []error{
		stream.ErrFull, stream.ErrEmpty, stream.ErrEnded, shmem.ErrClosed, shmem.ErrReadOnly,
	}
	for _, cause := range once {
		err := e.Of(cause)
		if err != e.Of(cause) || !errors.Is(err, cause) {
			t.Errorf("%v is not made once", err)
		}
	}
	for _, cause := range append(once, context.Canceled, stream.Corrupt(io.ErrUnexpectedEOF)) {
		err, ok := e.Of(cause).(*shmem.Error)
		if !ok || err.Op != "queue send" || err.Name != "jobs" || !errors.Is(err, cause) {
			t.Errorf("%#v", err)
		}
	}
	for cause, text := range map[error]string{
		stream.ErrFull: "the queue is full; use Send", stream.ErrEmpty: "there is no message; use Recv",
		shmem.ErrClosed: "the queue is closed",
	} {
		if err := e.Of(cause); err.Error() != "shmem: queue send jobs: "+text || e.Cause(cause).Error() != text {
			t.Errorf("%v, want %s", err, text)
		}
	}
	if err := e.EndClosed(); err.Error() != "shmem: queue send jobs: the sender is closed" ||
		!errors.Is(err, shmem.ErrClosed) || err != e.EndClosed() {
		t.Error(err)
	}
	if err := e.Corrupt(errors.New("odd word")); !errors.Is(err, shmem.ErrCorrupt) ||
		err.Error() != "shmem: queue send jobs: "+shmem.ErrCorrupt.Error()+" (odd word)" {
		t.Error(err)
	}
}

// plan is that of a topic in dir.
func plan(mode stream.Mode, dir string) stream.Plan {
	return stream.Plan{
		Op: "topic " + string(mode), Name: "t", Mode: mode,
		Options: &shmem.Options{Dir: dir, Undo: shmem.UndoNever},
	}
}

// numbers creates a topic of int32.
func numbers(t *testing.T, dir string, capacity, holds int) *stream.Topic {
	t.Helper()
	item, err := format.Of(reflect.TypeFor[int32]())
	check(t, err)
	tp, err := stream.OpenTopic(plan(stream.Create, dir), item, capacity, holds)
	check(t, err)
	t.Cleanup(func() { check(t, tp.Close()) })
	return tp
}

// TestTopicOfAnyType has a topic whose type is known at run time at one side, and in Go at the other.
func TestTopicOfAnyType(t *testing.T) {
	for _, holds := range []int{0, 2} {
		dir := shmemtest.Dir(t)
		typed, err := topic.Create[[3]byte]("t", &topic.Options{Dir: dir, Capacity: 4, Holds: holds})
		check(t, err)
		tp, err := stream.OpenTopic(plan(stream.Attach, dir), nil, 0, 0)
		check(t, err)
		if l := tp.Layout; l.Item.Size != 3 || l.Capacity != 4 || l.Holds != holds {
			t.Errorf("%+v", l)
		}
		there, err := typed.Subscribe(topic.Now)
		check(t, err)
		here, err := tp.Subscribe(stream.Start{})
		check(t, err)

		check(t, tp.Publish(background, []byte("abc")))
		check(t, tp.PublishInPlace(background, func(p []byte) error { copy(p, "def"); return nil }))
		check(t, typed.Publish(background, [3]byte([]byte("ghi"))))
		b := make([]byte, 3)
		for i, want := range []string{"abc", "def", "ghi"} {
			v, err := there.Recv(background)
			if string(v[:]) != want || err != nil {
				t.Errorf("typed: %q %v, want %q", v, err, want)
			}
			if err := here.Recv(background, b); string(b) != want || err != nil {
				t.Errorf("%q %v, want %q", b, err, want)
			}
			if seq, ok := here.Seq(); !ok || seq != uint64(i) {
				t.Errorf("seq %d %v, want %d", seq, ok, i)
			}
		}
		if pos, err := tp.Latest(b); pos != 2 || err != nil || string(b) != "ghi" {
			t.Errorf("latest: %q at %d, %v", b, pos, err)
		}
		check(t, there.Close())
		here.Close()
		check(t, tp.End())
		if !tp.Ended() {
			t.Error("not ended")
		}
		check(t, tp.Close())
		check(t, typed.Close())
	}
}

// TestNotATopic attaches to segments that are none, or a topic of another type.
func TestNotATopic(t *testing.T) {
	dir := shmemtest.Dir(t)
	box, err := shmem.Create[int32]("t", &shmem.Options{Dir: dir})
	check(t, err)
	_, err = stream.OpenTopic(plan(stream.Attach, dir), nil, 0, 0)
	if !errors.Is(err, shmem.ErrMismatch) {
		t.Error(err)
	}
	check(t, box.Close())
	tp := numbers(t, dir, 4, 0)
	item, err := format.Of(reflect.TypeFor[uint32]())
	check(t, err)
	_, err = stream.OpenTopic(plan(stream.Attach, dir), item, 0, 0)
	if !errors.Is(err, shmem.ErrMismatch) {
		t.Error(err)
	}
	if _, err := stream.TopicIn(tp.M, item); err != layout.ErrNoTopic {
		t.Error(err)
	}
}

// A repairer counts.
type repairer int

func (r *repairer) RepairIfDue() bool { *r++; return false }

// TestBackoff checks that a call tries stream.Patience times at once, and then looks at its context,
// at Close and for the dead, and sleeps.
func TestBackoff(t *testing.T) {
	tp := numbers(t, shmemtest.Dir(t), 4, 0)
	ctx, cancel := context.WithCancel(background)
	var b stream.Backoff
	var r repairer
	for i := range stream.Patience - 1 {
		if err := b.Pause(ctx, &tp.Attachment, &r); err != nil || r != 0 {
			t.Fatalf("try %d: %v, repaired %d times", i, err, r)
		}
	}
	// Tries that were slow begin the count anew, on a loaded machine more than once.
	for i := 0; r == 0; i++ {
		if i > 1000*stream.Patience {
			t.Fatal("never repaired")
		}
		check(t, b.Pause(ctx, &tp.Attachment, &r))
	}
	begin := time.Now()
	for range stream.Patience {
		check(t, b.Pause(ctx, &tp.Attachment, &r))
	}
	if d := time.Since(begin); d < time.Microsecond {
		t.Errorf("%d tries in %v", stream.Patience, d)
	}
	cancel()
	var err error
	for range stream.Patience + 1 {
		err = b.Pause(ctx, &tp.Attachment, &r)
	}
	if err != context.Canceled {
		t.Errorf("%v after cancel", err)
	}
	check(t, tp.Close())
	for range stream.Patience + 1 {
		err = b.Pause(background, &tp.Attachment, &r)
	}
	if err != shmem.ErrClosed {
		t.Errorf("%v after Close", err)
	}
}
