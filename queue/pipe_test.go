package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// content is a stream of n bytes.
func content(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 3))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// aPipe makes a Writer and a Reader of one queue.
func aPipe(t *testing.T, single bool) (*queue.Bytes, *queue.Writer, *queue.Reader) {
	t.Helper()
	q := openBytes(t, shmemtest.Dir(t), func(o *queue.BytesOptions) {
		o.Single, o.Bytes = single, 256
	})
	w, err := q.Writer(background)
	check(t, err)
	r, err := q.Reader(background)
	check(t, err)
	return q, w, r
}

// TestReader is the test of package iotest, on a stream in small pieces, one of them empty.
func TestReader(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		q, w, r := aPipe(t, single)
		sent := content(2000)
		done := make(chan error, 1)
		go func() {
			n, err := w.Write(sent[:1500])
			if n != 1500 || err != nil {
				done <- fmt.Errorf("wrote %d bytes: %w", n, err)
				return
			}
			for b := sent[1500:]; err == nil && len(b) > 0; b = b[min(7, len(b)):] {
				_, err = w.Write(b[:min(7, len(b))])
			}
			done <- errors.Join(err, w.Close(), w.Close())
		}()
		check(t, iotest.TestReader(r, sent))
		check(t, <-done)
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", n, err)
		}
		check(t, r.Close())
		_, err := r.Read(make([]byte, 1))
		want(t, err, shmem.ErrClosed)
		_, err = w.Write(make([]byte, 1))
		want(t, err, shmem.ErrClosed)
		check(t, q.Close())
	})
}

// TestReaderOfMessages: a Reader reads the messages of a sender one after the other. An empty one
// is nothing.
func TestReaderOfMessages(t *testing.T) {
	q, w, r := aPipe(t, false)
	for _, m := range []string{"ab", "", "cdefg"} {
		check(t, q.Send(background, []byte(m)))
	}
	for _, want := range []string{"ab", "cde", "fg"} {
		p := make([]byte, 3)
		if n, err := r.Read(p); string(p[:n]) != want || err != nil {
			t.Errorf("read %q, %v; want %q", p[:n], err, want)
		}
	}
	check(t, w.Close())
}

// failing is an io.Writer that takes some bytes and then fails.
type failing struct {
	bytes.Buffer
	room int
}

func (f *failing) Write(p []byte) (int, error) {
	n := min(len(p), f.room)
	f.Buffer.Write(p[:n])
	if f.room -= n; n < len(p) {
		return n, errUser
	}
	return n, nil
}

// TestWriteTo: WriteTo loses nothing when its io.Writer fails in the middle of a message.
func TestWriteTo(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		_, w, r := aPipe(t, single)
		sent := content(3000)
		go func() {
			_, _ = w.Write(sent)
			_ = w.Close()
		}()
		f := &failing{}
		total := int64(0)
		for _, room := range []int{100, 1, 31, 977} {
			f.room = room
			n, err := io.Copy(f, r) // by WriteTo
			want(t, err, errUser)
			total += n
		}
		f.room = 1 << 20
		n, err := r.WriteTo(f)
		check(t, err)
		if !bytes.Equal(f.Bytes(), sent) || total+n != 3000 {
			t.Errorf("%d bytes, %d counted", f.Len(), total+n)
		}
	})
}

// TestStreamDeadline: the context bounds a call, and a new one lets the stream go on.
func TestStreamDeadline(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		_, w, r := aPipe(t, single)
		ctx, cancel := context.WithTimeout(background, time.Millisecond)
		defer cancel()
		r.SetContext(ctx)
		_, err := r.Read(make([]byte, 1))
		want(t, err, context.DeadlineExceeded)
		w.SetContext(ctx)
		sent := content(4000)
		n, err := w.Write(sent)
		want(t, err, context.DeadlineExceeded)
		w.SetContext(background)
		r.SetContext(background)
		go func() {
			_, _ = w.Write(sent[n:])
			_ = w.Close()
		}()
		got, err := io.ReadAll(r)
		check(t, err)
		if n == 0 || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes fit, %d read", n, len(got))
		}
	})
}

func init() { roles = append(roles, shmemtest.Role{Name: "peer", Run: peer}) }

// peer writes or reads a stream, and kills itself when it has come to a step for the fourth time.
func peer(c *shmemtest.Conn) error {
	q, err := queue.AttachBytes("b", bytesOptions(c.Args()[0]))
	if err != nil {
		return err
	}
	left := 4
	step.Hook(func(p step.Point) {
		if string(p) != c.Args()[2] {
			return
		}
		if left--; left == 0 {
			shmemtest.Die()
		}
	})
	if c.Args()[1] == "write" {
		w, err := q.Writer(background)
		if err != nil {
			return err
		}
		for b := byte(0); ; b += 8 {
			if _, err := w.Write([]byte{b, b + 1, b + 2, b + 3, b + 4, b + 5, b + 6, b + 7}); err != nil {
				return err
			}
		}
	}
	r, err := q.Reader(background)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return fmt.Errorf("went on: %w", err)
}

// TestStreamPeerKilled kills one end of a Single stream at every step. The other one reads what is
// there, whole pieces in order, and then io.ErrUnexpectedEOF; or it writes until there is no room,
// and then gets io.ErrClosedPipe.
func TestStreamPeerKilled(t *testing.T) {
	for _, at := range []step.Point{
		step.QueueClaimed, step.QueueWritten, step.QueuePublished, step.QueueSent,
	} {
		t.Run(string(at), func(t *testing.T) {
			dir := shmemtest.Dir(t)
			q := openBytes(t, dir, func(o *queue.BytesOptions) { o.Single, o.Bytes = true, 256 })
			r, err := q.Reader(background)
			check(t, err)
			child := shmemtest.Start(t, "peer", dir, "write", string(at))
			got, err := io.ReadAll(r)
			want(t, err, io.ErrUnexpectedEOF)
			if err := child.Wait(); !shmemtest.Killed(err) {
				t.Fatalf("not killed: %v", err)
			}
			pieces := 3
			if at == step.QueuePublished || at == step.QueueSent {
				pieces = 4
			}
			if len(got) != 8*pieces {
				t.Errorf("read %d bytes, want %d", len(got), 8*pieces)
			}
			for i, b := range got {
				if b != byte(i) {
					t.Fatalf("byte %d is %d", i, b)
				}
			}
		})
	}
	for _, at := range []step.Point{
		step.QueueTaken, step.QueueRead, step.QueueReleased, step.QueueReceived,
	} {
		t.Run(string(at), func(t *testing.T) {
			dir := shmemtest.Dir(t)
			q := openBytes(t, dir, func(o *queue.BytesOptions) { o.Single, o.Bytes = true, 256 })
			w, err := q.Writer(background)
			check(t, err)
			child := shmemtest.Start(t, "peer", dir, "read", string(at))
			_, err = w.Write(content(4000))
			want(t, err, io.ErrClosedPipe)
			if err := child.Wait(); !shmemtest.Killed(err) {
				t.Fatalf("not killed: %v", err)
			}
		})
	}
}

// TestStreamPeerLeaves: an end that has moved bytes and leaves without an end of the stream is gone,
// as a dead one is.
func TestStreamPeerLeaves(t *testing.T) {
	_, w, r := aPipe(t, true)
	wrote := make(chan error, 1)
	go func() { _, err := w.Write(content(4000)); wrote <- err }()
	_, err := r.Read(make([]byte, 1))
	check(t, err)
	check(t, r.Close())
	want(t, <-wrote, io.ErrClosedPipe)

	q := openBytes(t, shmemtest.Dir(t), shapedBytes(true, 4))
	r, err = q.Reader(background)
	check(t, err)
	s, err := q.Sender()
	check(t, err)
	check(t, s.Send(background, []byte("x")))
	check(t, s.Close())
	got, err := io.ReadAll(r)
	want(t, err, io.ErrUnexpectedEOF)
	if string(got) != "x" {
		t.Errorf("read %q", got)
	}
}
