package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// A job as a first version of a program has it, as the second one has it, and others.
type (
	job1 struct{ ID, Sum int64 }
	job2 struct {
		ID, Sum int64
		Retries uint32
		Label   [5]byte
	}
	job3 struct {
		ID, Sum int64
		Retries uint32
		Label   [5]byte
		_       [3]byte
		Due     int64
	}
	jobWide struct {
		ID, Sum int64
		Retries [100]uint64
	}
	jobOther struct {
		ID      int64
		Sum     float64
		Retries uint32
		Label   [5]byte
	}
	jobPadded1 struct {
		ID   int64
		Kind uint8
	}
	jobPadded2 struct {
		ID   int64
		Kind uint8
		Flag uint8
	}
)

func init() {
	roles = append(roles,
		shmemtest.Role{Name: "version1", Run: versioned(
			func(i int64) job1 { return job1{i, 3 * i} },
			func(j job1) string { return fmt.Sprint(j.ID, j.Sum) })},
		shmemtest.Role{Name: "version2", Run: versioned(
			func(i int64) job2 {
				return job2{i, 3 * i, uint32(i) + 1, [5]byte{'a', 'b', 'c', 'd', byte(i)}}
			},
			func(j job2) string { return fmt.Sprint(j.ID, j.Sum, j.Retries, j.Label) })})
}

// versioned returns the main function of one version of a program, whose messages are Ts.
func versioned[T any](build func(int64) T, show func(T) string) func(*shmemtest.Conn) error {
	return func(c *shmemtest.Conn) error {
		o := options(c.Args()[0])
		o.Append = c.Args()[1] == "append"
		o.Capacity, o.Reserve = 8, 40
		o.Single = c.Args()[2] == "single"
		o.Lifetime = shmem.Kept
		q, err := queue.Open[T]("jobs", o)
		if err != nil {
			return err
		}
		defer q.Close()
		c.Send("open")
		v := &version[T]{q: q, build: build, show: show}
		for {
			line, err := c.Recv()
			if err != nil {
				return errors.Join(v.stop(), nil)
			}
			c.Send("%s", v.do(strings.Fields(line)))
		}
	}
}

type version[T any] struct {
	q     *queue.Queue[T]
	build func(int64) T
	show  func(T) string
	s     *queue.Sender[T]
	r     *queue.Receiver[T]
}

func (v *version[T]) stop() (err error) {
	if v.s != nil {
		err, v.s = v.s.Close(), nil
	}
	if v.r != nil {
		err, v.r = errors.Join(err, v.r.Close()), nil
	}
	return err
}

// do does what a line says: "way from count". It returns "ok", what was received, or the error.
func (v *version[T]) do(words []string) string {
	ctx, cancel := context.WithTimeout(background, 20*time.Second)
	defer cancel()
	way := words[0]
	from, _ := strconv.ParseInt(words[1], 10, 64)
	count, _ := strconv.ParseInt(words[2], 10, 64)
	var err error
	var got []string
	take := func(t T) { got = append(got, v.show(t)) }
	for i := from; i < from+count && err == nil; i++ {
		switch way {
		case "send":
			err = v.q.Send(ctx, v.build(i))
		case "trysend":
			err = v.q.TrySend(v.build(i))
		case "sendfunc":
			err = v.q.SendFunc(ctx, func(t *T) error { *t = v.build(i); return nil })
		case "sendbatch":
			all := make([]T, 0, count)
			for ; i < from+count; i++ {
				all = append(all, v.build(i))
			}
			_, err = v.q.SendBatch(ctx, all)
		case "sender":
			if v.s == nil {
				v.s, err = v.q.Sender()
			}
			if err == nil {
				err = v.s.Send(ctx, v.build(i))
			}
		case "recv":
			var t T
			if t, err = v.q.Recv(ctx); err == nil {
				take(t)
			}
		case "tryrecv":
			var t T
			if t, err = v.q.TryRecv(); err == nil {
				take(t)
			}
		case "recvfunc":
			err = v.q.RecvFunc(ctx, func(t *T) error { take(*t); return nil })
		case "recvbatch":
			all := make([]T, from+count-i)
			var n int
			n, err = v.q.RecvBatch(ctx, all)
			for _, t := range all[:n] {
				take(t)
			}
			i += int64(n) - 1
		case "receiver":
			if v.r == nil {
				v.r, err = v.q.Receiver()
			}
			var t T
			if err == nil {
				if t, err = v.r.Recv(ctx); err == nil {
					take(t)
				}
			}
		case "stop":
			err = v.stop()
		}
	}
	if err != nil {
		return err.Error()
	}
	if got == nil {
		return "ok"
	}
	return strings.Join(got, ";")
}

// seen is what a receiver of a version sees of the messages that a sender of a version sent.
func seen(sender, receiver int, from, count int) string {
	var all []string
	for i := from; i < from+count; i++ {
		s := fmt.Sprint(i, 3*i)
		switch {
		case receiver == 1:
		case sender == 1:
			s += " 0 [0 0 0 0 0]"
		default:
			s += fmt.Sprintf(" %d [97 98 99 100 %d]", i+1, byte(i))
		}
		all = append(all, s)
	}
	return strings.Join(all, ";")
}

// TestVersions: processes of two versions of a program use one live queue, whose messages have more
// fields in the second one. Each sends to each, in every way; a receiver of the second version sees
// zero in what the first does not know, also where older messages with those fields have been.
func TestVersions(t *testing.T) {
	for _, form := range []string{"many", "single"} {
		for _, first := range []int{1, 2} {
			t.Run(fmt.Sprint(form, " created by version ", first), func(t *testing.T) {
				versions(t, form, first)
			})
		}
	}
}

func versions(t *testing.T, form string, first int) {
	dir := shmemtest.Dir(t)
	start := func(version int) *shmemtest.Child {
		role, grow := "version1", "no"
		if version == 2 {
			role, grow = "version2", "append"
		}
		c := shmemtest.Start(t, role, dir, grow, form)
		c.Expect(t, "open")
		return c
	}
	child := map[int]*shmemtest.Child{first: start(first)}
	do := func(version int, want, way string, from, count int) {
		t.Helper()
		if got := child[version].Ask(t, "%s %d %d", way, from, count); got != want {
			t.Fatalf("version %d: %s %d: got %q, want %q", version, way, from, got, want)
		}
	}
	do(first, "ok", "send", 0, 3) // in flight when the type grows, or shrinks
	child[3-first] = start(3 - first)
	if form == "single" {
		do(3-first, seen(first, 3-first, 0, 3), "recv", 0, 3)
	} else {
		do(3-first, seen(first, 3-first, 0, 2), "recv", 0, 2)
		do(first, seen(first, first, 2, 1), "recv", 2, 1)
	}
	for version := range child {
		check(t, child[version].Close())
	}
	next := 100
	for _, pair := range [][2]int{{1, 2}, {2, 1}, {2, 2}, {1, 1}, {2, 2}, {1, 2}} {
		s, r := pair[0], pair[1]
		child[1], child[2] = start(1), start(2) // also after the other one has come and gone
		// Handles first: the methods of a Single queue keep their end until Close.
		for i, send := range []string{"sender", "send", "trysend", "sendfunc", "sendbatch"} {
			for j, recv := range []string{"receiver", "recv", "tryrecv", "recvfunc", "recvbatch"} {
				if form == "single" && i != j {
					continue
				}
				n := 1 + next%7
				do(s, "ok", send, next, n)
				do(r, seen(s, r, next, n), recv, next, n)
				do(s, "ok", "stop", 0, 1)
				do(r, "ok", "stop", 0, 1)
				next += n
			}
		}
		check(t, child[1].Close())
		check(t, child[2].Close())
	}
	check(t, shmem.Remove(dir, "jobs"))
}

// TestGrow says which types may meet at a queue, and what the error says where they may not.
func TestGrow(t *testing.T) {
	for _, single := range []bool{false, true} {
		t.Run(fmt.Sprint("single=", single), func(t *testing.T) {
			dir := shmemtest.Dir(t)
			o := func(change func(*queue.Options)) *queue.Options {
				o := options(dir)
				if change(o); o.Single {
					o.Single = single
				}
				return o
			}
			plain := o(func(*queue.Options) {})
			grow := o(func(o *queue.Options) { o.Append = true })
			refused := func(err error, texts ...string) {
				t.Helper()
				want(t, err, shmem.ErrMismatch)
				for _, text := range texts {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("%v\nit does not say %q", err, text)
					}
				}
			}
			q, err := queue.Create[job1]("q", o(func(o *queue.Options) { o.Single, o.Reserve = true, 17 }))
			check(t, err)
			defer q.Close()
			_, err = queue.Attach[job2]("q", plain)
			refused(err, "field Items[].Retries: here uint32 at 16, not in the segment", "Label", "Options.Append")
			_, err = queue.Attach[jobWide]("q", grow)
			refused(err, "Retries", "room for 40", "Options.Reserve")
			_, err = queue.Attach[jobOther]("q", grow)
			refused(err, "field Items[].Sum: here float64 at 8, in the segment int64 at 8")
			readOnly := o(func(o *queue.Options) { o.Append, o.ReadOnly = true, true })
			_, err = queue.Attach[job2]("q", readOnly)
			refused(err, "Retries", "read-only")
			check(t, q.Send(background, job1{1, 2}))
			q2, err := queue.Attach[job2]("q", grow)
			check(t, err)
			defer q2.Close()
			if v, err := q2.TryRecv(); v != (job2{ID: 1, Sum: 2}) || err != nil {
				t.Error(v, err)
			}
			// The older version needs not know of it: the creator has made room.
			q1, err := queue.Attach[job1]("q", plain)
			check(t, err)
			check(t, q1.Close())
			q2b, err := queue.Attach[job2]("q", plain) // it is the type of the queue now
			check(t, err)
			check(t, q2b.Close())
			q3, err := queue.Attach[job3]("q", grow) // 8 more
			check(t, err)
			defer q3.Close()
			_, err = queue.Attach[jobOther]("q", grow)
			refused(err, "Sum")

			// Without room, and without a word about growing.
			full, err := queue.Create[job1]("full", o(func(o *queue.Options) { o.Single, o.Append = true, true }))
			check(t, err)
			defer full.Close()
			_, err = queue.Attach[job2]("full", grow)
			refused(err, "Retries", "room for 16", "Options.Reserve")
			long, err := queue.Create[job2]("long", o(func(o *queue.Options) { o.Single = true }))
			check(t, err)
			defer long.Close()
			_, err = queue.Attach[job1]("long", plain)
			refused(err, "Retries", "not here", "Options.Append")
			short, err := queue.Attach[job1]("long", grow)
			check(t, err)
			check(t, short.Send(background, job1{3, 4}))
			if v, err := long.TryRecv(); v != (job2{ID: 3, Sum: 4}) || err != nil {
				t.Error(v, err)
			}
			check(t, short.Close())
			padded, err := queue.Create[jobPadded1]("padded", o(func(o *queue.Options) { o.Single, o.Reserve = true, 8 }))
			check(t, err)
			defer padded.Close()
			_, err = queue.Attach[jobPadded2]("padded", grow)
			refused(err, "Flag", "padding", "with a field _ [", "]byte before it")
			_, err = queue.Open[job1]("bad", o(func(o *queue.Options) { o.Reserve = -1 }))
			want(t, err, shmem.ErrBadOption)
		})
	}
}
