package topic_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
	"github.com/shmembox/shmem/topic"
)

// A tick as a first version of a program has it, as the second one has it, and others. The size of
// the first one is no multiple of a word.
type (
	tick1 struct {
		ID  int64
		Key [5]byte
		_   [3]byte
	}
	tick2 struct {
		ID    int64
		Key   [5]byte
		_     [3]byte
		Extra [6]int64
		Flag  bool
	}
	tickOther struct {
		ID  int32
		Key [5]byte
	}
	odd1 struct{ A [13]byte }
	odd2 struct {
		A [13]byte
		B [4]byte
	}
)

func newTick1(i int64) tick1 { return tick1{ID: i, Key: [5]byte{1, 2, 3, 4, byte(i)}} }

func newTick2(i int64) tick2 {
	t := tick2{ID: i, Key: [5]byte{1, 2, 3, 4, byte(i)}, Flag: true}
	for j := range t.Extra {
		t.Extra[j] = i + int64(j)
	}
	return t
}

func growing(dir string) *topic.Options {
	return &topic.Options{Dir: dir, Capacity: 8, Reserve: 64, Holds: 4, Append: true}
}

func init() {
	roles = append(roles,
		shmemtest.Role{Name: "version1", Run: func(c *shmemtest.Conn) error { return floods(c, newTick1) }},
		shmemtest.Role{Name: "version2", Run: func(c *shmemtest.Conn) error { return floods(c, newTick2) }})
}

// floods publishes messages, in place and by a copy, until the topic ends.
func floods[T any](c *shmemtest.Conn, newTick func(int64) T) error {
	t, err := topic.Open[T]("t", growing(c.Args()[0]))
	if err != nil {
		return err
	}
	defer t.Close()
	c.Send("open")
	for i := int64(1); err == nil; i++ {
		if err = t.Publish(background, newTick(i)); err == nil {
			err = t.PublishFunc(background, func(v *T) error { *v = newTick(i); return nil })
		}
	}
	if strings.Contains(err.Error(), topic.ErrEnded.Error()) {
		err = nil
	}
	return err
}

// TestVersions: processes of two versions of a program publish to one live topic as fast as they
// can, and subscribers of both versions, with and without holds, see whole messages: of the other
// version what they know, and zero in what the publisher did not know.
func TestVersions(t *testing.T) {
	for _, first := range []string{"version1", "version2"} {
		t.Run(first, func(t *testing.T) {
			dir := shmemtest.Dir(t)
			a := shmemtest.Start(t, first, dir)
			a.Expect(t, "open")
			other := "version1"
			if first == other {
				other = "version2"
			}
			b := shmemtest.Start(t, other, dir)
			b.Expect(t, "open")
			t1, err := topic.Attach[tick1]("t", &topic.Options{Dir: dir}) // asks for nothing
			check(t, err)
			defer t1.Close()
			t2, err := topic.Attach[tick2]("t", growing(dir))
			check(t, err)
			defer t2.Close()
			s1, s2 := subscribe(t, t1, topic.Now), subscribe(t, t2, topic.Oldest)
			old, grown := 0, 0
			good := func(v tick2) {
				t.Helper()
				if v == newTick2(v.ID) {
					grown++
				} else if k := newTick1(v.ID); v == (tick2{ID: k.ID, Key: k.Key}) {
					old++
				} else {
					t.Fatalf("neither an old message nor a new one: %+v", v)
				}
			}
			for i := 0; i < 2000 || old == 0 || grown == 0; i++ {
				v, err := s1.Recv(background)
				check(t, err)
				if v != newTick1(v.ID) {
					t.Fatalf("%+v", v)
				}
				check(t, s1.RecvFunc(background, func(v *tick1) error {
					if *v != newTick1(v.ID) {
						t.Errorf("in place %+v", *v)
					}
					return nil
				}))
				w, err := s2.Recv(background)
				check(t, err)
				good(w)
				if w, _, err := t2.Latest(); err == nil {
					good(w)
				}
				var copied tick2
				if s2.RecvFunc(background, func(v *tick2) error { copied = *v; return nil }) == nil {
					good(copied)
				}
			}
			check(t, t1.End())
			ctx, cancel := context.WithTimeout(background, 20*time.Second)
			defer cancel()
			for err = nil; err == nil; {
				_, err = s2.Recv(ctx)
			}
			want(t, err, io.EOF)
			check(t, s1.Close())
			check(t, s2.Close())
			check(t, a.Close())
			check(t, b.Close())
		})
	}
}

// TestGrow says which types may meet at a topic, and what the error says where they may not.
func TestGrow(t *testing.T) {
	dir := shmemtest.Dir(t)
	refused := func(err error, texts ...string) {
		t.Helper()
		want(t, err, shmem.ErrMismatch)
		for _, text := range texts {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v\nit does not say %q", err, text)
			}
		}
	}
	plain, grow := &topic.Options{Dir: dir}, &topic.Options{Dir: dir, Append: true}
	tp, err := topic.Create[tick1]("t", &topic.Options{Dir: dir, Reserve: 56})
	check(t, err)
	defer tp.Close()
	check(t, tp.Publish(background, newTick1(7)))
	_, err = topic.Attach[tick2]("t", plain)
	refused(err, "field Items[].Extra: here [6]int64 at 16, not in the segment", "Flag", "Options.Append")
	_, err = topic.Attach[tickOther]("t", grow)
	refused(err, "field Items[].ID: here int32 at 0, in the segment int64 at 0")
	_, err = topic.Attach[tick2]("t", &topic.Options{Dir: dir, Append: true, ReadOnly: true})
	refused(err, "Extra", "read-only")
	t2, err := topic.Attach[tick2]("t", grow)
	check(t, err)
	defer t2.Close()
	k := newTick1(7)
	if v, _, err := t2.Latest(); v != (tick2{ID: k.ID, Key: k.Key}) || err != nil {
		t.Error(v, err)
	}
	for _, o := range []*topic.Options{plain, grow, {Dir: dir, ReadOnly: true}} {
		t1, err := topic.Attach[tick1]("t", o)
		check(t, err)
		if v, _, err := t1.Latest(); v != k || err != nil {
			t.Error(v, err)
		}
		check(t, t1.Close())
	}
	_, err = topic.Create[tick1]("bad", &topic.Options{Dir: dir, Reserve: -1})
	want(t, err, shmem.ErrBadOption)
	full, err := topic.Create[tick1]("full", &topic.Options{Dir: dir})
	check(t, err)
	defer full.Close()
	_, err = topic.Attach[tick2]("full", grow)
	refused(err, "Extra", "room for 16", "Options.Reserve")
}

// TestGrowInWord appends bytes within the word that a message of the first version ends in.
func TestGrowInWord(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &topic.Options{Dir: dir, Append: true, Reserve: 8, Capacity: 1}
	t1, err := topic.Create[odd1]("t", o)
	check(t, err)
	defer t1.Close()
	t2, err := topic.Attach[odd2]("t", o)
	check(t, err)
	defer t2.Close()
	a := odd1{[13]byte{12: 13}}
	for i := range 3 {
		check(t, t2.Publish(background, odd2{A: [13]byte{9}, B: [4]byte{5, 6, 7, 8}}))
		if i == 1 {
			check(t, t1.PublishFunc(background, func(v *odd1) error { *v = a; return nil }))
		} else {
			check(t, t1.Publish(background, a))
		}
		if v, _, err := t2.Latest(); v != (odd2{A: a.A}) || err != nil {
			t.Error(fmt.Sprint(v), err)
		}
	}
}
