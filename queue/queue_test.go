package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// forms runs a test with queues for many and with Single ones.
func forms(t *testing.T, f func(t *testing.T, single bool)) {
	for _, single := range []bool{false, true} {
		t.Run(fmt.Sprint("single=", single), func(t *testing.T) { f(t, single) })
	}
}

func shaped(single bool, capacity int) func(*queue.Options) {
	return func(o *queue.Options) { o.Single, o.Capacity = single, capacity }
}

func shapedBytes(single bool, capacity int) func(*queue.BytesOptions) {
	return func(o *queue.BytesOptions) {
		o.Single, o.Capacity, o.Bytes = single, capacity, 64*capacity
	}
}

func openBytes(t testing.TB, dir string, change func(*queue.BytesOptions)) *queue.Bytes {
	t.Helper()
	o := bytesOptions(dir)
	change(o)
	q, err := queue.OpenBytes("b", o)
	check(t, err)
	t.Cleanup(func() { check(t, q.Close()) })
	return q
}

func want(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func TestOneByOne(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		q := open[[3]uint32](t, shmemtest.Dir(t), shaped(single, 5))
		if q.Cap() != 5 || q.Len() != 0 || q.Single() != single {
			t.Fatal(q.Cap(), q.Len(), q.Single())
		}
		_, err := q.TryRecv()
		want(t, err, queue.ErrEmpty)
		for lap := range uint32(4) {
			for i := range uint32(5) {
				check(t, q.TrySend([3]uint32{lap, i, 7}))
			}
			want(t, q.TrySend([3]uint32{}), queue.ErrFull)
			if q.Len() != 5 {
				t.Errorf("Len %d", q.Len())
			}
			for i := range uint32(5) {
				v, err := q.Recv(background)
				if err != nil || v != [3]uint32{lap, i, 7} {
					t.Fatal(v, err)
				}
			}
		}
		check(t, q.TrySend([3]uint32{9}))
		check(t, q.End())
		want(t, q.Send(background, [3]uint32{}), queue.ErrEnded)
		if v, err := q.TryRecv(); v[0] != 9 || err != nil {
			t.Error(v, err)
		}
		for range 2 {
			_, err = q.Recv(background)
			want(t, err, io.EOF)
		}
		s, err := q.Stats()
		check(t, err)
		if s.Sent != 21 || s.Received != 21 || !s.Ended || s.Depth != 0 || s.Capacity != 5 {
			t.Errorf("%+v", s)
		}
	})
}

func TestBatch(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		q := open[int](t, shmemtest.Dir(t), shaped(single, 7))
		const n = 1000
		go func() {
			vs := make([]int, n)
			for i := range vs {
				vs[i] = i
			}
			if k, err := q.SendBatch(background, vs); k != n || err != nil {
				t.Error(k, err)
			}
			check(t, q.End())
		}()
		buf := make([]int, 5)
		next := 0
		for {
			k, err := q.RecvBatch(background, buf)
			if err == io.EOF {
				break
			}
			check(t, err)
			for _, v := range buf[:k] {
				if v != next {
					t.Fatalf("got %d, want %d", v, next)
				}
				next++
			}
		}
		if next != n {
			t.Errorf("got %d", next)
		}
	})
}

func TestInPlace(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		q := open[[1 << 16]byte](t, shmemtest.Dir(t), shaped(single, 2))
		oops := errors.New("oops")
		want(t, q.SendFunc(background, func(*[1 << 16]byte) error { return oops }), oops)
		func() {
			defer func() { _ = recover() }()
			_ = q.SendFunc(background, func(*[1 << 16]byte) error { panic(1) })
		}()
		check(t, q.SendFunc(background, func(b *[1 << 16]byte) error { b[9] = 1; return nil }))
		want(t, q.RecvFunc(background, func(b *[1 << 16]byte) error { return oops }), oops)
		func() {
			defer func() { _ = recover() }()
			_ = q.RecvFunc(background, func(*[1 << 16]byte) error { panic(1) })
		}()
		check(t, q.RecvFunc(background, func(b *[1 << 16]byte) error {
			if b[9] != 1 {
				t.Error(b[9])
			}
			return nil
		}))
		_, err := q.TryRecv()
		want(t, err, queue.ErrEmpty)
	})
}

func TestBytes(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		q := openBytes(t, shmemtest.Dir(t), shapedBytes(single, 8))
		want(t, q.Send(background, make([]byte, q.MaxLen()+1)), queue.ErrTooBig)
		go func() {
			for i := range 3000 {
				m := bytes.Repeat([]byte{byte(i)}, i%(q.MaxLen()+1))
				var err error
				switch i % 3 {
				case 0:
					err = q.Send(background, m)
				case 1:
					_, err = q.Write(m)
				default:
					err = q.SendFunc(background, len(m), func(b []byte) error {
						copy(b, m)
						return nil
					})
				}
				check(t, err)
			}
			check(t, q.End())
		}()
		i := 0
		oops := errors.New("oops")
		look := func(b []byte) {
			other := len(bytes.Trim(b, string([]byte{byte(i)}))) > 0 && byte(i) < 128
			if len(b) != i%(q.MaxLen()+1) || other {
				t.Fatalf("message %d: %d bytes %x", i, len(b), b)
			}
		}
		for {
			if i%5 == 0 {
				err := q.RecvFunc(background, func(b []byte) error { look(b); return oops })
				if err == io.EOF {
					break
				}
				want(t, err, oops)
				check(t, q.RecvFunc(background, func(b []byte) error { look(b); return nil }))
			} else {
				b, err := q.Recv(background, nil)
				if err == io.EOF {
					break
				}
				check(t, err)
				look(b)
			}
			i++
		}
		if i != 3000 {
			t.Errorf("got %d", i)
		}
	})
}

// TestManyGoroutines has goroutines that share an attachment and others with their own. Some wait
// at a full queue, some at an empty one.
func TestManyGoroutines(t *testing.T) {
	dir := shmemtest.Dir(t)
	a := open[[2]int](t, dir, shaped(false, 3))
	b := open[[2]int](t, dir, nil)
	const producers, each = 6, 2000
	var wg, cg sync.WaitGroup
	for p := range producers {
		q := []*queue.Queue[[2]int]{a, b}[p%2]
		wg.Go(func() {
			for i := range each {
				check(t, q.Send(background, [2]int{p, i}))
			}
		})
	}
	var got [producers]atomic.Int64
	for c := range 4 {
		q := []*queue.Queue[[2]int]{a, b}[c%2]
		cg.Go(func() {
			last := [producers]int{-1, -1, -1, -1, -1, -1}
			for v, err := range q.All(background) {
				check(t, err)
				if v[1] <= last[v[0]] {
					t.Errorf("%v after %d", v, last[v[0]])
				}
				last[v[0]] = v[1]
				got[v[0]].Add(int64(v[1]) + 1)
			}
		})
	}
	wg.Wait()
	check(t, a.End())
	cg.Wait()
	for p := range got {
		if n := got[p].Load(); n != each*(each+1)/2 {
			t.Errorf("of producer %d: sum %d", p, n)
		}
	}
}

func TestContext(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		dir := shmemtest.Dir(t)
		q := open[int](t, dir, shaped(single, 1))
		b := openBytes(t, dir, shapedBytes(single, 1))
		ctx, cancel := context.WithTimeout(background, 20*time.Millisecond)
		defer cancel()
		_, err := q.Recv(ctx)
		want(t, err, context.DeadlineExceeded)
		_, err = b.Recv(ctx, nil)
		want(t, err, context.DeadlineExceeded)
		check(t, q.Send(ctx, 1)) // there is room
		for b.TrySend(make([]byte, 8)) == nil {
		}
		want(t, q.Send(ctx, 2), context.DeadlineExceeded)
		want(t, b.Send(ctx, make([]byte, 8)), context.DeadlineExceeded)
	})
}

func TestCloseWhileBlocked(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		dir := shmemtest.Dir(t)
		full := open[int](t, dir, shaped(single, 1))
		check(t, full.Send(background, 1))
		empty, err := queue.Open[int]("e", &queue.Options{Lifetime: shmem.Owned, Dir: dir, Single: single})
		check(t, err)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { want(t, full.Send(background, 2), shmem.ErrClosed) })
			wg.Go(func() { _, err := empty.Recv(background); want(t, err, shmem.ErrClosed) })
		}
		if !single {
			r, err := empty.Receiver()
			check(t, err)
			s, err := full.Sender()
			check(t, err)
			wg.Go(func() {
				_, err := r.Recv(background)
				want(t, err, shmem.ErrClosed)
				check(t, r.Close())
				_, err = r.TryRecv()
				want(t, err, shmem.ErrClosed)
			})
			wg.Go(func() { want(t, s.Send(background, 2), shmem.ErrClosed); check(t, s.Close()) })
		}
		time.Sleep(20 * time.Millisecond)
		check(t, full.Close())
		check(t, empty.Close())
		wg.Wait()
		want(t, full.Send(background, 1), shmem.ErrClosed)
		_, err = full.Stats()
		want(t, err, shmem.ErrClosed)
	})
}

func TestSingleEnds(t *testing.T) {
	dir := shmemtest.Dir(t)
	a := open[int](t, dir, shaped(true, 4))
	b := open[int](t, dir, nil)
	if !b.Single() || b.Cap() != 4 {
		t.Fatal("the second attachment sees another queue")
	}
	check(t, a.Send(background, 1))
	want(t, b.Send(background, 2), queue.ErrTaken)
	_, err := b.Sender()
	want(t, err, queue.ErrTaken)
	r, err := b.Receiver()
	check(t, err)
	_, err = a.Recv(background)
	want(t, err, queue.ErrTaken)
	if v, err := r.Recv(background); v != 1 || err != nil {
		t.Error(v, err)
	}
	if s, _ := a.Stats(); !s.HasSender || !s.HasReceiver {
		t.Errorf("%+v", s)
	}
	check(t, r.Close())
	check(t, r.Close())
	check(t, a.Send(background, 3))
	if v, err := a.Recv(background); v != 3 || err != nil {
		t.Error(v, err)
	}
	err = b.Send(background, 4)
	text, holder := fmt.Sprint(err), fmt.Sprint("pid ", os.Getpid())
	if !strings.Contains(text, "queue send q: ") || !strings.Contains(text, holder) {
		t.Error("the error does not name the holder and the queue:", err)
	}
}

// TestCloseIsNoDeath checks that an end is free after Close of its queue, and that no death is
// counted.
func TestCloseIsNoDeath(t *testing.T) {
	for _, handles := range []bool{false, true} {
		dir := shmemtest.Dir(t)
		a := open[int](t, dir, shaped(true, 4))
		b := open[int](t, dir, nil)
		send, recv := b.Send, b.Recv
		if handles {
			s, err := b.Sender()
			check(t, err)
			r, err := b.Receiver()
			check(t, err)
			send, recv = s.Send, r.Recv
		}
		check(t, send(background, 1))
		_, err := recv(background)
		check(t, err)
		waits := make(chan error)
		go func() {
			_, err := recv(background)
			waits <- err
		}()
		check(t, b.Close())
		want(t, <-waits, shmem.ErrClosed)
		check(t, a.Send(background, 2))
		_, err = a.Recv(background)
		check(t, err)
		if s, err := a.Stats(); err != nil || s.Skipped+s.Redelivered != 0 {
			t.Errorf("no process died: %+v, %v", s, err)
		}
	}
}

// TestCanceled checks that a sender that waits for room gets the slot of a message that is given
// up, also if no receiver comes.
func TestCanceled(t *testing.T) {
	fail, armed := errors.New("no"), make(chan struct{}, 8)
	step.Hook(func(p step.Point) {
		if p == step.WaitArmed {
			armed <- struct{}{}
		}
	})
	defer step.Hook(nil)
	waiting := func(giveUp func(f func()) error, send func() error) {
		t.Helper()
		sent := make(chan error, 1)
		want(t, giveUp(func() {
			go func() { sent <- send() }()
			<-armed
		}), fail)
		check(t, <-sent) // or the test ends by its time limit
	}
	q := open[int](t, shmemtest.Dir(t), shaped(false, 1))
	waiting(func(f func()) error {
		return q.SendFunc(background, func(*int) error { f(); return fail })
	}, func() error { return q.Send(background, 7) })
	b := openBytes(t, shmemtest.Dir(t), func(o *queue.BytesOptions) { o.Capacity, o.Bytes = 8, 64 })
	waiting(func(f func()) error {
		return b.SendFunc(background, 64, func([]byte) error { f(); return fail })
	}, func() error { return b.Send(background, make([]byte, 64)) })
}

func TestHandles(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		q := open[int](t, shmemtest.Dir(t), shaped(single, 16))
		s, err := q.Sender()
		check(t, err)
		r, err := q.Receiver()
		check(t, err)
		const n = 20000
		go func() {
			for i := 0; i < n; {
				switch i % 3 {
				case 0:
					check(t, s.Send(background, i))
					i++
				case 1:
					check(t, s.SendFunc(background, func(v *int) error { *v = i; return nil }))
					i++
				default:
					if i+3 > n {
						check(t, s.Send(background, i))
						i++
						continue
					}
					_, err := s.SendBatch(background, []int{i, i + 1, i + 2})
					check(t, err)
					i += 3
				}
			}
			check(t, q.End())
		}()
		i := 0
		for v, err := range r.All(background) {
			check(t, err)
			if v != i {
				t.Fatalf("got %d, want %d", v, i)
			}
			i++
			if i%7 == 0 {
				check(t, r.RecvFunc(background, func(v *int) error {
					if *v != i {
						t.Errorf("got %d, want %d", *v, i)
					}
					return nil
				}))
				i++
			}
		}
		if i != n {
			t.Errorf("got %d", i)
		}
	})
}

func TestAttachErrors(t *testing.T) {
	dir := shmemtest.Dir(t)
	_, err := queue.Attach[int]("none", options(dir))
	want(t, err, fs.ErrNotExist)
	q := open[int32](t, dir, nil)
	_, err = queue.Attach[uint32]("q", options(dir))
	want(t, err, shmem.ErrMismatch)
	if !strings.Contains(err.Error(), "Items") {
		t.Errorf("the error does not say where: %v", err)
	}
	_, err = queue.AttachBytes("q", bytesOptions(dir))
	want(t, err, shmem.ErrMismatch)
	_, err = queue.Create[int32]("q", options(dir))
	want(t, err, fs.ErrExist)
	_, err = queue.Open[string]("s", options(dir))
	want(t, err, shmem.ErrBadType)
	_, err = queue.Open[int]("s", &queue.Options{Capacity: -1, Dir: dir})
	if err == nil {
		t.Error("a negative capacity")
	}
	box, err := shmem.Create[[64]byte]("box", &shmem.Options{Dir: dir})
	check(t, err)
	defer box.Close()
	_, err = queue.Open[byte]("box", options(dir))
	want(t, err, shmem.ErrMismatch)

	o := options(dir)
	o.ReadOnly = true
	ro, err := queue.Attach[int32]("q", o)
	check(t, err)
	defer ro.Close()
	check(t, q.Send(background, 1))
	want(t, ro.Send(background, 1), shmem.ErrReadOnly)
	_, err = ro.TryRecv()
	want(t, err, shmem.ErrReadOnly)
	want(t, ro.End(), shmem.ErrReadOnly)
	if s, err := ro.Stats(); s.Depth != 1 || err != nil || ro.Len() != 1 {
		t.Errorf("%+v %v", s, err)
	}
}

// TestSize checks that the memory is what the documentation says, to the byte.
func TestSize(t *testing.T) {
	up := func(n, to int) int { return (n + to - 1) / to * to }
	page := 4096
	if page != shmemPage() {
		t.Skip("other pages")
	}
	forms(t, func(t *testing.T, single bool) {
		dir := shmemtest.Dir(t)
		for _, n := range []int{1, 3, 100, 1000} {
			type item [3]uint64
			o := options(dir)
			o.Capacity, o.Single, o.Slots = n, single, 10
			q, err := queue.Create[item]("q", o)
			check(t, err)
			b, err := queue.CreateBytes("b", &queue.BytesOptions{
				Lifetime: shmem.Owned,
				Dir:      dir, Capacity: n, Single: single, Bytes: 8*n + 24, Slots: 10,
			})
			check(t, err)
			items, data := up(640+8*n, 128)+32*n, up(768+32*n, 128)+8*n+24
			if single {
				items, data = 768+24*n, 768+8*n+24
			}
			for _, c := range []struct {
				s    *shmem.Segment
				want int
			}{{q.Segment(), items}, {b.Segment(), data}} {
				if c.s.Size() != c.want {
					t.Errorf("%d: %d bytes, want %d", n, c.s.Size(), c.want)
				}
				info, err := shmem.Stat(o.Dir, c.s.Name())
				check(t, err)
				if w := int64(up(up(c.want, page)+640+page, page)); info.File != w {
					t.Errorf("%d: file of %d bytes, want %d", n, info.File, w)
				}
			}
			check(t, q.Close())
			check(t, b.Close())
		}
	})
}

func TestOwn(t *testing.T) {
	dir := shmemtest.Dir(t)
	q := open[int](t, dir, nil)
	p := open[int](t, dir, nil)
	check(t, q.Send(background, 5))
	check(t, p.Segment().Own())
	check(t, q.Close())
	if !p.Segment().Linked() || !p.Segment().Owned() {
		t.Error("not owned")
	}
	if v, err := p.Recv(background); v != 5 || err != nil {
		t.Error(v, err)
	}
}

// TestRaceOrder checks that the race detector knows the order: what was done before Send is seen
// after Recv.
func TestRaceOrder(t *testing.T) {
	forms(t, func(t *testing.T, single bool) {
		dir := shmemtest.Dir(t)
		a := open[int](t, dir, shaped(single, 4))
		b := open[int](t, dir, nil) // other addresses for the same memory
		ba := openBytes(t, dir, shapedBytes(single, 4))
		bb := openBytes(t, dir, shapedBytes(single, 4))
		x := 0
		go func() {
			x = 1
			check(t, a.Send(background, 1))
		}()
		_, err := b.Recv(background)
		check(t, err)
		if x != 1 {
			t.Error(x)
		}
		go func() {
			x = 2
			check(t, ba.Send(background, []byte("x")))
		}()
		_, err = bb.Recv(background, nil)
		check(t, err)
		if x != 2 {
			t.Error(x)
		}
		runtime.KeepAlive(x)
	})
}
