package queue_test

import (
	"errors"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// TestReserve: a draft is sent in the order of Reserve, whenever it is sent; a canceled one is
// skipped.
func TestReserve(t *testing.T) {
	q := open[int64](t, shmemtest.Dir(t), shaped(false, 4))
	var drafts []*queue.Draft[int64]
	for i := range int64(4) {
		d, err := q.Reserve(background)
		check(t, err)
		*d.Value() = i
		drafts = append(drafts, d)
	}
	_, err := q.TryReserve()
	want(t, err, queue.ErrFull)
	check(t, drafts[2].Send())
	_, err = q.TryRecv()
	want(t, err, queue.ErrEmpty)
	drafts[1].Cancel()
	drafts[1].Cancel()
	want(t, drafts[1].Send(), queue.ErrDraftEnded)
	check(t, drafts[0].Send())
	want(t, drafts[0].Send(), queue.ErrDraftEnded)
	drafts[0].Cancel()
	for _, want := range []int64{0, 2} {
		if v, err := q.TryRecv(); v != want || err != nil {
			t.Fatalf("received %d, %v; want %d", v, err, want)
		}
	}
	check(t, q.Close())
	want(t, drafts[3].Send(), shmem.ErrClosed)
	drafts[3].Cancel()
}

// TestReserveBytes is TestReserve for a Bytes. What the attachment has reserved when it closes is
// skipped.
func TestReserveBytes(t *testing.T) {
	dir := shmemtest.Dir(t)
	q := openBytes(t, dir, shapedBytes(false, 4))
	other, err := queue.AttachBytes("b", bytesOptions(dir))
	check(t, err)
	d, err := other.Reserve(background, 5)
	check(t, err)
	_, err = other.Reserve(background, 9)
	check(t, err)
	copy(d.Value(), "hello")
	check(t, d.Send())
	check(t, other.Close())
	check(t, q.Send(background, []byte("world")))
	for _, want := range []string{"hello", "world"} {
		if b, err := q.Recv(background, nil); string(b) != want || err != nil {
			t.Fatalf("received %q, %v; want %q", b, err, want)
		}
	}
	_, err = q.Reserve(background, q.MaxLen()+1)
	want(t, err, queue.ErrTooBig)
	check(t, q.End())
	_, err = q.TryReserve(1)
	want(t, err, queue.ErrEnded)
}

// TestReserveSingle: a Single queue has no drafts.
func TestReserveSingle(t *testing.T) {
	q := open[int64](t, shmemtest.Dir(t), shaped(true, 4))
	b := openBytes(t, shmemtest.Dir(t), shapedBytes(true, 4))
	_, err := q.Reserve(background)
	_, errBytes := b.Reserve(background, 1)
	want(t, errors.Join(err, errBytes), shmem.ErrBadOption)
}
