package natsbridge

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/shmembox/shmem"
)

// TestTables: a table has what was added to it, as far back as it remembers, in any order; those of
// eight origins are kept, and the one that was not used for longest gives way to a ninth.
func TestTables(t *testing.T) {
	var x table
	seen := map[uint64]bool{}
	highest := uint64(0)
	for range 20_000 {
		p := highest + uint64(rand.Int64N(100))
		switch rand.IntN(50) {
		case 0:
			p = highest + uint64(rand.Int64N(remembered))
		case 1:
			p = highest - min(highest, uint64(rand.Int64N(remembered)))
		case 2:
			p = highest + remembered + uint64(rand.Int64N(10))
		}
		if x.has(p) != (seen[p] && p+remembered > highest) {
			t.Fatalf("%d of %d: %v", p, highest, x.has(p))
		}
		x.add(p)
		seen[p] = true
		highest = max(highest, p)
		if !x.has(p) {
			t.Fatalf("%d was added", p)
		}
	}
	box, err := shmem.Open[queueWords](t.Name(), &shmem.Options{
		Dir: t.TempDir(), Disk: true,
	})
	check(t, err)
	defer box.Close()
	s := &queueState{&state[queueWords]{box: box}}
	for inc := range uint64(origins + 1) {
		i := s.table(inc + 1)
		s.words().Tables[i].add(7)
		if j := s.table(1); s.words().Tables[j].Incarnation.Load() != 1 || !s.words().Tables[j].has(7) {
			t.Fatalf("the first origin is forgotten after %d", inc)
		}
	}
	if i := s.table(2); s.words().Tables[i].has(7) {
		t.Error("a new table has positions of another origin")
	}
}

// TestApplied: which frames of a mark are applied when so many of its messages are published.
func TestApplied(t *testing.T) {
	var m mark
	m.Frames.Store(3)
	for i, end := range []uint64{2, 5, 6} {
		m.Ends[i].Store(end)
	}
	for n, want := range [][2]int{{0, 0}, {0, 1}, {1, 0}, {1, 1}, {1, 2}, {2, 0}, {3, 0}, {3, 0}} {
		if frames, skip := m.applied(uint64(n)); frames != want[0] || int(skip) != want[1] {
			t.Errorf("%d messages: %d frames and %d, want %v", n, frames, skip, want)
		}
	}
	m.Frames.Store(1 << 40) // another process may write anything
	m.Ends[0].Store(1 << 60)
	m.applied(3)
}

// TestPacked: the messages of a frame come out as they went in; what is cut off is refused.
func TestPacked(t *testing.T) {
	f := frame{kind: packed, incarnation: 3, sequence: 5}
	b := f.append(nil)
	want := []message{{5, []byte("one")}, {9, nil}, {7, []byte("three")}}
	for _, m := range want {
		b = appendMessage(b, m.position, m.body)
	}
	for n := range len(b) + 1 {
		g, body, err := anyFrame(b[:n])
		var all []message
		if err == nil {
			all, err = appendMessages(nil, &g, body)
		}
		if err != nil && !errors.Is(err, errFrame) {
			t.Error(err)
		}
		for i, m := range all {
			if m.position != want[i].position || !bytes.Equal(m.body, want[i].body) {
				t.Errorf("%d bytes: %v", n, all)
			}
		}
		if n == len(b) && len(all) != len(want) {
			t.Errorf("%d messages, %v", len(all), err)
		}
	}
	if _, err := appendMessages(nil, &frame{kind: 77}, nil); !errors.Is(err, errFrame) {
		t.Error(err)
	}
}
