package inspect_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// texts returns the numbers and texts of the last n messages.
func texts(t *testing.T, dir, name string, n int) string {
	t.Helper()
	s := look(t, dir, name)
	all, err := s.Messages(n)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, m := range all {
		text += fmt.Sprintf("%d:%v ", m.Seq, m.Value)
	}
	return text
}

// TestMessages: the messages that wait in each kind of queue and in a topic are shown, round after
// round, and those that were received are not.
func TestMessages(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := queue.Options{Lifetime: shmem.Owned, Dir: dir, Capacity: 5}
	want := func(name string, n int, want string) {
		t.Helper()
		if got := texts(t, dir, name, n); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for _, single := range []bool{false, true} {
		o.Single = single
		q, err := queue.Create[[3]uint16](fmt.Sprint("typed-", single), &o)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		b, err := queue.CreateBytes(fmt.Sprint("bytes-", single),
			&queue.BytesOptions{Lifetime: shmem.Owned, Dir: dir, Capacity: 5, Bytes: 64, Single: single})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		for i := range uint16(23) {
			if err := errors.Join(q.Send(t.Context(), [3]uint16{i, i, i}),
				b.Send(t.Context(), fmt.Append(nil, "m", i))); err != nil {
				t.Fatal(err)
			}
			if i < 2 {
				continue
			}
			want(fmt.Sprint("typed-", single), 0,
				fmt.Sprintf("%d:[%d %d %d] %d:[%d %d %d] %d:[%d %d %d] ", i-2, i-2, i-2, i-2, i-1,
					i-1, i-1, i-1, i, i, i, i))
			want(fmt.Sprint("typed-", single), 1, fmt.Sprintf("%d:[%d %d %d] ", i, i, i, i))
			at := func(i uint16) int {
				if single {
					return 16 * int(i) // the number counts bytes: a word for the length and one for the message
				}
				return int(i)
			}
			want(fmt.Sprint("bytes-", single), 0, fmt.Sprintf(`%d:"m%d" %d:"m%d" %d:"m%d" `, at(i-2), i-2, at(i-1), i-1, at(i), i))
			if i%2 == 0 && !single { // RecvFunc fails, so the message is to be redelivered
				fails := func(error) error { return io.ErrClosedPipe }
				_ = q.RecvFunc(t.Context(), func(*[3]uint16) error { return fails(nil) })
				want(fmt.Sprint("typed-", single), 3,
					fmt.Sprintf("%d:[%d %d %d] %d:[%d %d %d] %d:[%d %d %d] ", i-2, i-2, i-2, i-2,
						i-1, i-1, i-1, i-1, i, i, i, i))
			}
			_, err := q.Recv(t.Context())
			if _, err1 := b.Recv(t.Context(), nil); err != nil || err1 != nil {
				t.Fatal(err, err1)
			}
		}
		tr, err := look(t, dir, fmt.Sprint("bytes-", single)).Stats()
		if err != nil || tr.Single != single || tr.BytesCap != 64 ||
			tr.Bytes != map[bool]uint64{true: 32, false: 16}[single] ||
			single != (tr.Sender.PID == os.Getpid()) {
			t.Errorf("%+v %v", tr, err)
		}
	}
	tp, err := topic.Create[uint8]("t", &topic.Options{Dir: dir, Capacity: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	for i := range uint8(7) {
		if err := tp.Publish(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	want("t", 0, "4:4 5:5 6:6 ")
	want("t", 2, "5:5 6:6 ")
	b, err := shmem.Create[int64]("box", &shmem.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := look(t, dir, "box").Messages(0); !errors.Is(err, shmem.ErrMismatch) {
		t.Error(err)
	}
	if err := inspect.Set(t.Context(), "t", &shmem.Options{Dir: dir},
		inspect.Assignment{Path: "Topic.Tail", Value: "1"}); err == nil {
		t.Error("a topic can be set")
	}
}

// TestMutatedStreams: a queue or topic with any bytes in it is shown without a fault or a hang.
func TestMutatedStreams(t *testing.T) {
	dir := shmemtest.Dir(t)
	defer os.Remove(filepath.Join(dir, "x"))
	var images [][]byte
	add := func(name string, c io.Closer, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, raw)
		_ = c.Close()
	}
	for _, single := range []bool{false, true} {
		o := &queue.Options{Lifetime: shmem.Owned, Dir: dir, Slots: 4, Capacity: 4, Single: single}
		q, err := queue.Create[uint64]("q", o)
		if err == nil {
			err = q.Send(t.Context(), 1)
		}
		add("q", q, err)
		b, err := queue.CreateBytes("b",
			&queue.BytesOptions{Lifetime: shmem.Owned, Dir: dir, Slots: 4, Capacity: 4, Bytes: 64, Single: single})
		if err == nil {
			err = b.Send(t.Context(), []byte("message"))
		}
		add("b", b, err)
	}
	tp, err := topic.Create[uint64]("t", &topic.Options{Dir: dir, Slots: 4, Capacity: 4, Holds: 1})
	if err == nil {
		err = tp.Publish(t.Context(), 1)
	}
	add("t", tp, err)
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 3000 {
		b := append([]byte(nil), images[n%len(images)]...)
		for range 1 + n%4 {
			at := r.IntN(1200) &^ 7 // the payload is at the beginning of the file
			for i, w := 0, r.Uint64()>>r.IntN(64); i < 8; i++ {
				b[at+i] = byte(w >> (8 * i))
			}
		}
		hostile(t, dir, b)
	}
}
