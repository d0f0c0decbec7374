package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// TestEqualsReopen: three equal processes come and go in every order. While one of them is attached
// the value stays what it is, and after the last one nothing is left, unless it is kept.
func TestEqualsReopen(t *testing.T) {
	for _, l := range []shmem.Lifetime{shmem.Shared, shmem.Kept} {
		for order := range 36 {
			t.Run(fmt.Sprint(l, order), func(t *testing.T) {
				dir := shmemtest.Dir(t)
				o := &shmem.Options{Dir: dir, Lifetime: l}
				var all [3]*shmem.Box[point]
				for i := range all {
					b, err := shmem.Open[point]("p", o)
					check(t, err)
					all[i] = b
				}
				all[0].Value().X = 7
				leave, again := order%6, order/6
				for _, gone := range permutation(leave) {
					check(t, all[gone].Close())
					b, err := shmem.Open[point]("p", o)
					check(t, err)
					if b.Value().X != 7 || b.Owned() {
						t.Fatalf("%v, owned %v", *b.Value(), b.Owned())
					}
					all[gone] = b
				}
				for i, at := range permutation(again) {
					if i == 1 {
						abandon(all[at].Segment()) // killed
					} else {
						check(t, all[at].Close())
					}
				}
				if l == shmem.Kept {
					check(t, shmem.Remove(dir, "p"))
				}
				wantNames(t, dir)
			})
		}
	}
}

// permutation returns the n-th order of three.
func permutation(n int) [3]int {
	return [...][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}[n%6]
}

// TestUnreadSurvives: messages that were sent with nil are found by the next Open, however the last
// attachment ended, in every form of a queue. An empty queue, and a topic, are gone.
func TestUnreadSurvives(t *testing.T) {
	ctx := context.Background()
	ends := map[string]func(t *testing.T, s *shmem.Segment){
		"polite": func(t *testing.T, s *shmem.Segment) { check(t, s.Close()) },
		"killed": func(_ *testing.T, s *shmem.Segment) { abandon(s) },
	}
	for _, single := range []bool{false, true} {
		for name, end := range ends {
			t.Run(fmt.Sprintf("single %v, %s", single, name), func(t *testing.T) {
				dir := shmemtest.Dir(t)
				o := &queue.Options{Dir: dir, Capacity: 8, Single: single}
				q, err := queue.Open[int64]("q", o)
				check(t, err)
				for i := range int64(11) {
					check(t, q.Send(ctx, i))
					if i < 8 {
						_, err := q.Recv(ctx)
						check(t, err)
					}
				}
				end(t, q.Segment())
				info, err := shmem.Stat(dir, "q")
				if err != nil || info.State != shmem.Idle || info.Unread != 3 || info.Lifetime != shmem.Shared {
					t.Fatalf("%v, %d unread, %v (%v)", info.State, info.Unread, info.Lifetime, err)
				}
				reclaim(t, dir)
				q, err = queue.Open[int64]("q", o)
				check(t, err)
				for i := range int64(3) {
					if v, err := q.Recv(ctx); err != nil || v != 8+i {
						t.Fatalf("%d, %v", v, err)
					}
				}
				check(t, q.Close()) // it is empty
				wantNames(t, dir)

				b, err := queue.OpenBytes("b", &queue.BytesOptions{Dir: dir, Single: single, Bytes: 4096})
				check(t, err)
				// so many that the ring of a Single queue has come to its end
				for i := range 100 {
					check(t, b.Send(ctx, []byte(strings.Repeat("x", i))))
					_, err := b.Recv(ctx, nil)
					check(t, err)
				}
				for _, m := range []string{"unread", "", strings.Repeat("long", 200)} {
					check(t, b.Send(ctx, []byte(m)))
				}
				end(t, b.Segment())
				info, err = shmem.Stat(dir, "b")
				if err != nil || info.State != shmem.Idle || info.Unread != 3 {
					t.Errorf("%v, %d unread messages of bytes (%v)", info.State, info.Unread, err)
				}
				b, err = queue.AttachBytes("b", &queue.BytesOptions{Dir: dir})
				check(t, err)
				check(t, b.End())
				end(t, b.Segment())
				b, err = queue.AttachBytes("b", &queue.BytesOptions{Dir: dir})
				check(t, err)
				if m, err := b.Recv(ctx, nil); err != nil || string(m) != "unread" {
					t.Errorf("%q, %v", m, err)
				}
				for range 2 {
					_, err := b.Recv(ctx, nil)
					check(t, err)
				}
				if _, err := b.Recv(ctx, nil); err != io.EOF {
					t.Errorf("%v, want io.EOF", err)
				}
				check(t, b.Close())

				tp, err := topic.Open[int64]("t", &topic.Options{Dir: dir})
				check(t, err)
				check(t, tp.Publish(ctx, 1))
				end(t, tp.Segment())
				reclaim(t, dir)
				wantNames(t, dir)
			})
		}
	}
}

// TestUnreadLease: a message that a dead receiver had on a lease is unread; one that a dead sender
// had claimed is not.
func TestUnreadLease(t *testing.T) {
	ctx := context.Background()
	dir := shmemtest.Dir(t)
	o := &queue.Options{Dir: dir, Capacity: 8}
	q, err := queue.Open[int64]("q", o)
	check(t, err)
	check(t, q.Send(ctx, 1))
	stopped := errors.New("stopped")
	_ = q.RecvFunc(ctx, func(*int64) error { return stopped })
	abandon(q.Segment())
	q, err = queue.Attach[int64]("q", o)
	check(t, err)
	if v, err := q.Recv(ctx); err != nil || v != 1 {
		t.Errorf("%d, %v", v, err)
	}
	check(t, q.SendFunc(ctx, func(*int64) error { return nil }))
	if _, err := q.Recv(ctx); err != nil {
		t.Error(err)
	}
	_ = q.SendFunc(ctx, func(*int64) error { return stopped })
	abandon(q.Segment())
	_, err = queue.Attach[int64]("q", o)
	wantErr(t, err, fs.ErrNotExist)
	reclaim(t, dir)
	wantNames(t, dir)
}

// TestLifetimeMismatch: options that contradict what exists are an error that names both.
func TestLifetimeMismatch(t *testing.T) {
	dir := shmemtest.Dir(t)
	b, err := shmem.Open[point]("p", &shmem.Options{Dir: dir, Lifetime: shmem.Shared, Slots: 8})
	check(t, err)
	for _, o := range []shmem.Options{{Lifetime: shmem.Owned}, {Slots: 9}, {Mode: 0o640}} {
		o.Dir = dir
		_, err := shmem.Open[point]("p", &o)
		wantErr(t, err, shmem.ErrMismatch, "the segment was created", "asks for")
	}
	_, err = shmem.Open[point]("p", &shmem.Options{Dir: dir, Lifetime: 9})
	if err == nil || !strings.Contains(err.Error(), "Options.Lifetime") {
		t.Errorf("%v", err)
	}
	again, err := shmem.Open[point]("p", &shmem.Options{Dir: dir, Lifetime: shmem.Shared, Slots: 8, Mode: 0o600})
	check(t, err)
	check(t, again.Close())
	check(t, b.Close())

	q, err := queue.Open[int64]("q", &queue.Options{Dir: dir, Capacity: 16})
	check(t, err)
	for _, o := range []queue.Options{{Capacity: 17}, {Single: true}, {Lifetime: shmem.Kept}} {
		o.Dir = dir
		_, err := queue.Open[int64]("q", &o)
		wantErr(t, err, shmem.ErrMismatch, "the segment was created")
	}
	check(t, q.Close())
	tp, err := topic.Open[int64]("t", &topic.Options{Dir: dir, Holds: 2})
	check(t, err)
	for _, o := range []topic.Options{{Capacity: 17}, {Holds: 3}} {
		o.Dir = dir
		_, err := topic.Open[int64]("t", &o)
		wantErr(t, err, shmem.ErrMismatch, "the segment was created")
	}
	check(t, tp.Close())
	wantNames(t, dir)
}
