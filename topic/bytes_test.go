package topic_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

func openBytes(t testing.TB, dir string, capacity, size, holds int) *topic.Bytes {
	t.Helper()
	tp, err := topic.OpenBytes("t",
		&topic.BytesOptions{Dir: dir, Capacity: capacity, Bytes: size, Holds: holds})
	check(t, err)
	t.Cleanup(func() { check(t, tp.Close()) })
	return tp
}

func subscribeBytes(
	t testing.TB, tp *topic.Bytes, from topic.Start, how ...topic.Delivery,
) *topic.BytesSubscription {
	t.Helper()
	s, err := tp.Subscribe(from, how...)
	check(t, err)
	return s
}

// text is a message of n bytes that are different in each message.
func text(i, n int) []byte {
	b := make([]byte, n)
	for k := range b {
		b[k] = byte(31*i + k)
	}
	return b
}

// Messages of all lengths, through every way to publish and to receive.
func TestBytes(t *testing.T) {
	for _, holds := range []int{0, 2} {
		tp := openBytes(t, shmemtest.Dir(t), 4, 96, holds)
		if tp.MaxLen() != 96 || tp.Cap() != 4 {
			t.Error(tp.MaxLen(), tp.Cap())
		}
		p, err := tp.Publisher()
		check(t, err)
		s := subscribeBytes(t, tp, topic.Now)
		buf := []byte("head")
		for n := 0; n <= 96; n++ {
			m := text(n, n)
			publish := []func() error{
				func() error { return tp.Publish(background, m) },
				func() error { return tp.TryPublish(m) },
				func() error {
					return tp.PublishFunc(background, n, func(b []byte) error { copy(b, m); return nil })
				},
				func() error { return p.Publish(background, m) },
				func() error { return p.TryPublish(m) },
				func() error {
					return p.PublishFunc(background, n, func(b []byte) error { copy(b, m); return nil })
				},
				func() error { _, err := tp.PublishBatch(background, [][]byte{m}); return err },
				func() error { _, err := p.PublishBatch(background, [][]byte{m}); return err },
			}
			receive := []func() ([]byte, error){
				func() ([]byte, error) { return s.Recv(background, nil) },
				func() ([]byte, error) { return s.TryRecv(nil) },
				func() ([]byte, error) {
					b, err := s.Recv(background, buf[:4])
					return b[4:], err
				},
				func() (b []byte, err error) {
					err = s.RecvFunc(background, func(m []byte) error { b = bytes.Clone(m); return nil })
					return b, err
				},
				func() ([]byte, error) {
					bufs := [][]byte{nil, nil}
					k, err := s.RecvBatch(background, bufs)
					if k != 1 {
						t.Error(k, err)
					}
					return bufs[0], err
				},
				func() (b []byte, err error) {
					for b, err = range s.All(background) {
						break
					}
					return b, err
				},
			}
			check(t, publish[n%len(publish)]())
			if b, err := receive[n%len(receive)](); !bytes.Equal(b, m) || err != nil {
				t.Fatalf("%d bytes: got %v, %v", n, b, err)
			}
			if b, seq, err := tp.Latest(nil); !bytes.Equal(b, m) || seq != uint64(n) || err != nil {
				t.Fatalf("latest: %v, %d, %v", b, seq, err)
			}
		}
		want(t, tp.Publish(background, make([]byte, 97)), topic.ErrTooBig)
		names(t, p.TryPublish(make([]byte, 97)), "publish", topic.ErrTooBig)
		for _, n := range []int{-1, -2, 97} {
			f := func([]byte) error { t.Errorf("called for %d bytes", n); return nil }
			want(t, tp.PublishFunc(background, n, f), topic.ErrTooBig)
			want(t, p.PublishFunc(background, n, f), topic.ErrTooBig)
		}
		if s.Lost() != 0 {
			t.Errorf("%d lost", s.Lost())
		}
		check(t, tp.End())
		if _, err := s.Recv(background, nil); err != io.EOF {
			t.Error(err)
		}
		names(t, tp.Publish(background, nil), "publish", topic.ErrEnded)
		check(t, s.Close())
	}
}

// Subscriptions begin where they are asked to, with what the bytes have room for, and count what was
// lost.
func TestBytesStarts(t *testing.T) {
	dir := shmemtest.Dir(t)
	tp := openBytes(t, dir, 8, 64, 0)
	_, _, err := tp.Latest(nil)
	names(t, err, "latest", topic.ErrEmpty)
	for i := range 10 {
		check(t, tp.Publish(background, text(i, 16))) // the last 4 are kept
	}
	ro, err := topic.AttachBytes("t", &topic.BytesOptions{Dir: dir, ReadOnly: true})
	check(t, err)
	for _, tp := range []*topic.Bytes{tp, ro} {
		for _, c := range []struct {
			from  topic.Start
			first int
			lost  uint64
		}{
			{topic.Oldest, 6, 0}, {topic.Last(2), 8, 0}, {topic.Last(99), 6, 0}, {topic.Last(4), 6, 0},
			{topic.After(7), 8, 0}, {topic.After(3), 6, 2}, {topic.After(0), 6, 5}, {topic.Now, 10, 0},
		} {
			s := subscribeBytes(t, tp, c.from)
			for i := c.first; i < 10; i++ {
				if b, err := s.TryRecv(nil); !bytes.Equal(b, text(i, 16)) || err != nil {
					t.Fatalf("%v: %v, %v, want message %d", c, b, err, i)
				}
			}
			_, err := s.TryRecv(nil)
			names(t, err, "receive", topic.ErrEmpty)
			if s.Lost() != c.lost {
				t.Errorf("%v: %d lost", c, s.Lost())
			}
			check(t, s.Close())
		}
		s := subscribeBytes(t, tp, topic.Oldest, topic.Newest)
		b, err := s.TryRecv(nil)
		if seq, _ := s.Seq(); !bytes.Equal(b, text(9, 16)) || seq != 9 || s.Lost() != 0 {
			t.Errorf("newest: %v, %v, number %d", b, err, seq)
		}
		check(t, s.Close())
	}
	names(t, ro.Publish(background, nil), "publish", shmem.ErrReadOnly)
	check(t, ro.Close())
	st, err := tp.Stats()
	if err != nil || st.Published != 10 || st.Bytes != 64 || st.Capacity != 8 || st.Lost != 7 {
		t.Errorf("%+v, %v", st, err)
	}
}

// A subscription that holds publishers back does so for slots and for bytes, and a message that is
// being written keeps publishers from its bytes.
func TestBytesHeldBack(t *testing.T) {
	dir := shmemtest.Dir(t)
	tp := openBytes(t, dir, 8, 64, 2)
	s := subscribeBytes(t, tp, topic.Now)
	for i := range 4 {
		check(t, tp.TryPublish(text(i, 16)))
	}
	names(t, tp.TryPublish([]byte{1}), "publish", topic.ErrFull)
	check(t, tp.TryPublish(nil)) // needs no bytes
	done := make(chan error)
	go func() { done <- tp.Publish(background, text(5, 40)) }()
	for _, i := range []int{0, 1, 2} {
		if b, err := s.Recv(background, nil); !bytes.Equal(b, text(i, 16)) || err != nil {
			t.Fatal(b, err)
		}
	}
	check(t, <-done)
	for _, m := range [][]byte{text(3, 16), nil, text(5, 40)} {
		if b, err := s.Recv(background, nil); !bytes.Equal(b, m) || err != nil {
			t.Fatal(b, err, m)
		}
	}
	for i := range 6 { // slots: zero bytes each, and 8 kept
		check(t, tp.TryPublish(text(i, 0)))
	}
	check(t, s.Close())
	for i := range 3 {
		check(t, tp.Publish(background, text(i, 64)))
	}

	err := tp.PublishFunc(background, 24, func(b []byte) error {
		check(t, tp.TryPublish(text(1, 40)))
		names(t, tp.TryPublish(text(2, 40)), "publish", topic.ErrFull)
		copy(b, text(9, 24))
		return nil
	})
	check(t, err)
	if b, _, err := tp.Latest(nil); !bytes.Equal(b, text(1, 40)) || err != nil {
		t.Error(b, err)
	}
	oops := errors.New("oops")
	if err := tp.PublishFunc(background, 64, func([]byte) error { return oops }); err != oops {
		t.Error(err)
	}
	check(t, tp.TryPublish(text(2, 64)))
	s = subscribeBytes(t, tp, topic.Oldest)
	if err := s.RecvFunc(background, func([]byte) error { return oops }); err != oops {
		t.Error(err)
	}
	if b, err := s.Recv(background, nil); !bytes.Equal(b, text(2, 64)) || err != nil {
		t.Error(b, err)
	}
	check(t, s.Close())
}

// RecvFunc returns ErrLost where the bytes were used again while its function read them.
func TestBytesLostInFunction(t *testing.T) {
	tp := openBytes(t, shmemtest.Dir(t), 8, 64, 0)
	s := subscribeBytes(t, tp, topic.Now)
	check(t, tp.Publish(background, text(1, 16)))
	err := s.RecvFunc(background, func([]byte) error {
		check(t, tp.Publish(background, text(2, 64)))
		return nil
	})
	names(t, err, "receive", topic.ErrLost)
	if b, err := s.Recv(background, nil); !bytes.Equal(b, text(2, 64)) || s.Lost() != 1 {
		t.Error(b, err, s.Lost())
	}
	check(t, s.Close())
}

// TestBytesOptions has what is refused, and what a topic that is there is compared with.
func TestBytesOptions(t *testing.T) {
	dir := shmemtest.Dir(t)
	for _, o := range []topic.BytesOptions{
		{Bytes: -1}, {Bytes: math.MaxInt}, {Capacity: -1}, {Holds: -1}, {Holds: 1<<16 + 1},
	} {
		o.Dir = dir
		_, err := topic.OpenBytes("t", &o)
		names(t, err, "open", shmem.ErrBadOption)
	}
	tp := openBytes(t, dir, 3, 60, 1)
	if tp.MaxLen() != 64 {
		t.Error(tp.MaxLen())
	}
	for _, o := range []topic.BytesOptions{{Bytes: 72}, {Capacity: 4}, {Holds: 2}} {
		o.Dir = dir
		_, err := topic.AttachBytes("t", &o)
		names(t, err, "attach", shmem.ErrMismatch)
	}
	other, err := topic.AttachBytes("t", &topic.BytesOptions{Dir: dir, Capacity: 3, Bytes: 60, Holds: 1})
	check(t, err)
	check(t, other.Close())
	_, err = topic.Attach[int]("t", &topic.Options{Dir: dir})
	names(t, err, "attach", shmem.ErrMismatch)
	ctx, cancel := context.WithCancel(background)
	cancel()
	_, err = topic.AttachBytesWait(ctx, "none", &topic.BytesOptions{Dir: dir})
	want(t, err, context.Canceled)
}

// A message of the crowd: publisher, number, and bytes that follow from both.
func crowdMessage(id, n uint64, size int) []byte {
	b := make([]byte, 16+size)
	binary.LittleEndian.PutUint64(b, id)
	binary.LittleEndian.PutUint64(b[8:], n)
	for k := range b[16:] {
		b[16+k] = byte(id + n + uint64(k))
	}
	return b
}

// crowdCheck compares a message with what its publisher wrote, and returns its number.
func crowdCheck(b []byte) (id, n uint64, err error) {
	if len(b) < 16 {
		return 0, 0, fmt.Errorf("%d bytes", len(b))
	}
	id, n = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	if !bytes.Equal(b, crowdMessage(id, n, len(b)-16)) {
		return 0, 0, fmt.Errorf("torn: message %d of %d, %d bytes", n, id, len(b))
	}
	return id, n, nil
}

// TestBytesCrowd has two publishers and subscriptions of every kind: no message is torn, each
// publisher's messages come in order, and one that holds loses none.
func TestBytesCrowd(t *testing.T) {
	const publishers, each = 2, 3000
	tp := openBytes(t, shmemtest.Dir(t), 16, 512, 1)
	var readers, writers sync.WaitGroup
	for _, how := range []topic.Delivery{topic.Hold, topic.NoHold, topic.Newest} {
		s := subscribeBytes(t, tp, topic.Now, how)
		readers.Go(func() {
			next := map[uint64]uint64{}
			got := uint64(0)
			for b, err := range s.All(background) {
				if err != nil {
					t.Error(err)
					return
				}
				id, n, err := crowdCheck(b)
				if err != nil || n < next[id] || how == topic.Hold && n != next[id] {
					t.Errorf("delivery %d: %v, %d of %d, want %d", how, err, n, id, next[id])
				}
				next[id] = n + 1
				got++
			}
			if how != topic.Newest && got+s.Lost() != publishers*each {
				t.Errorf("delivery %d: %d got, %d lost", how, got, s.Lost())
			}
			check(t, s.Close())
		})
	}
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	for id := range uint64(publishers) {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(id, 1))
			p, err := tp.Publisher()
			check(t, err)
			for n := range uint64(each) {
				size := r.IntN(100)
				if n%50 == 0 {
					size = 400
				}
				if err := p.Publish(ctx, crowdMessage(id, n, size)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	check(t, tp.End())
	readers.Wait()
}
