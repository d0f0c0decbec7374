package queue_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// TestMistakenSegments opens what is something else: the error says what it is and how to open it.
func TestMistakenSegments(t *testing.T) {
	dir := shmemtest.Dir(t)
	open[int32](t, dir, nil) // "q"
	openBytes(t, dir, func(*queue.BytesOptions) {})
	tp, err := topic.Create[int32]("t", &topic.Options{Dir: dir})
	check(t, err)
	defer tp.Close()
	box, err := shmem.Create[int32]("box", &shmem.Options{Dir: dir})
	check(t, err)
	defer box.Close()
	raw, err := shmem.CreateSegment("raw", 64, &shmem.Options{Dir: dir})
	check(t, err)
	defer raw.Close()
	foreign := filepath.Join(dir, "foreign")
	check(t, os.WriteFile(foreign, make([]byte, 100), 0o600))
	_, err = queue.Attach[int32]("foreign", options(dir))
	want(t, err, shmem.ErrForeign)
	if !strings.Contains(err.Error(), "shmem.Attach takes it with Options.Foreign") {
		t.Errorf("options of a queue have no Foreign: %v", err)
	}
	check(t, os.Remove(foreign))
	typed := func(name string) error { _, err := queue.Attach[int32](name, options(dir)); return err }
	bytes := func(name string) error { _, err := queue.OpenBytes(name, bytesOptions(dir)); return err }
	topics := func(name string) error { _, err := topic.Open[int32](name, &topic.Options{Dir: dir}); return err }
	boxes := func(name string) error {
		_, err := shmem.Open[int64](name, &shmem.Options{Dir: dir, Append: true})
		return err
	}
	for _, c := range []struct {
		open func(string) error
		name string
		want string
	}{
		{typed, "b", "shmem: queue attach b: the segment is a queue.Bytes (see queue.OpenBytes), not a queue.Queue"},
		{typed, "t", "shmem: queue attach t: the segment is a topic.Topic of int32 (see topic.Open), not a queue.Queue"},
		{typed, "box", "shmem: queue attach box: the segment is a box of int32 (see shmem.Open), not a queue.Queue"},
		{typed, "raw", "shmem: queue attach raw: the segment is raw bytes, not a queue.Queue"},
		{bytes, "q", "shmem: queue open q: the segment is a queue.Queue of int32 (see queue.Open), not a queue.Bytes"},
		{bytes, "box", "shmem: queue open box: the segment is a box of int32 (see shmem.Open), not a queue.Bytes"},
		{topics, "q", "shmem: topic open q: the segment is a queue.Queue of int32 (see queue.Open), not a topic.Topic"},
		{topics, "box", "shmem: topic open box: the segment is a box of int32 (see shmem.Open), not a topic.Topic"},
		{boxes, "q", "shmem: open q: the segment is a queue.Queue of int32 (see queue.Open), not a box of int64"},
		{boxes, "b", "shmem: open b: the segment is a queue.Bytes (see queue.OpenBytes), not a box of int64"},
		{boxes, "t", "shmem: open t: the segment is a topic.Topic of int32 (see topic.Open), not a box of int64"},
	} {
		err := c.open(c.name)
		want(t, err, shmem.ErrMismatch)
		if !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

// TestSeveralClaims opens a queue with options that contradict it: each has one line, and the text
// has one line in all.
func TestSeveralClaims(t *testing.T) {
	dir := shmemtest.Dir(t)
	openBytes(t, dir, func(o *queue.BytesOptions) { o.Capacity, o.Bytes = 4, 64 })
	_, err := queue.OpenBytes("b", &queue.BytesOptions{Dir: dir, Capacity: 8, Bytes: 128, Single: true})
	var mismatch *shmem.MismatchError
	if !errors.As(err, &mismatch) {
		t.Fatal(err)
	}
	if n := len(mismatch.Differences); n != 3 || strings.Contains(err.Error(), "\n") {
		t.Errorf("%d differences: %v", n, err)
	}
}

// TestBadOptions gives options values that they cannot have.
func TestBadOptions(t *testing.T) {
	dir := shmemtest.Dir(t)
	_, err := queue.Open[int]("q", &queue.Options{Dir: dir, Capacity: -1})
	want(t, err, shmem.ErrBadOption)
	_, err = queue.OpenBytes("q", &queue.BytesOptions{Dir: dir, Bytes: -1})
	want(t, err, shmem.ErrBadOption)
	_, err = queue.OpenBytes("q", &queue.BytesOptions{Dir: dir, Single: true, Bytes: 1})
	want(t, err, shmem.ErrBadOption)
	_, err = queue.Open[int]("q", &queue.Options{Dir: dir, Slots: -1})
	want(t, err, shmem.ErrBadOption)
	_, err = topic.Open[int]("q", &topic.Options{Dir: dir, Capacity: -1})
	want(t, err, shmem.ErrBadOption)
	_, err = topic.Open[int]("q", &topic.Options{Dir: dir, Holds: -1})
	want(t, err, shmem.ErrBadOption)
}

// TestTooSmall opens Single queues of bytes that could carry nothing, and the smallest that can.
func TestTooSmall(t *testing.T) {
	dir := shmemtest.Dir(t)
	for _, n := range []int{1, 8, 16, 24} {
		_, err := queue.CreateBytes("b", &queue.BytesOptions{Dir: dir, Single: true, Bytes: n})
		var e *shmem.Error
		if !errors.As(err, &e) || e.Op != "queue create" || !strings.Contains(err.Error(), "use at least 32") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	q, err := queue.CreateBytes("b", &queue.BytesOptions{Dir: dir, Single: true, Bytes: 32})
	check(t, err)
	defer q.Close()
	check(t, q.Send(background, []byte("8 bytes.")))
	if b, err := q.TryRecv(nil); string(b) != "8 bytes." || err != nil || q.MaxLen() != 8 {
		t.Error(b, err, q.MaxLen())
	}
	for _, n := range []int{-1, -64} {
		if _, err := queue.CreateBytes("c", &queue.BytesOptions{Dir: dir, Bytes: n}); err == nil {
			t.Errorf("%d bytes", n)
		}
	}
}
