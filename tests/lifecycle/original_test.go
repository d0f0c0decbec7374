package lifecycle_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// The faults of the Rust crate shmem-bind, each of which must be impossible here, and what the
// tests and the README of the crate show.

func init() { roles = append(roles, shmemtest.Role{Name: "racer", Run: racerRole}) }

// The crate passed the name to C without its terminator: opening one name several times led to
// different segments, or to names with random bytes at the end.
func TestOriginalNames(t *testing.T) {
	dir := shmemtest.Dir(t)
	for n := 1; n <= 64; n++ {
		name := strings.Repeat("n", n)
		a, b := open[point](t, dir, name), open[point](t, dir, name)
		a.Value().X = int64(n)
		if b.Value().X != int64(n) || b.Owned() {
			t.Fatalf("%d bytes of name: two segments", n)
		}
		wantNames(t, dir, name)
		check(t, errors.Join(b.Close(), a.Close()))
	}
}

// racerRole opens a box a number of times, together with other processes, and checks that it is
// complete.
func racerRole(c *shmemtest.Conn) error {
	o := &shmem.Options{Dir: c.Args()[0]}
	for {
		if _, err := c.Recv(); err != nil {
			return err
		}
		b, err := shmem.Open[coin]("race", o)
		if err != nil {
			return err
		}
		v := b.Value()
		c.Send("%v %v %d", b.Owned(), v.Check == ^v.ID, v.ID)
		if _, err := c.Recv(); err != nil {
			return err
		}
		if err := b.Close(); err != nil {
			return err
		}
		c.Send("closed")
	}
}

// Two processes both created the segment, and one truncated the memory that the other used. An
// opener saw memory that had no size or no value yet.
func TestOriginalRaces(t *testing.T) {
	dir := shmemtest.Dir(t)
	var racers []*shmemtest.Child
	for range 4 {
		racers = append(racers, shmemtest.Start(t, "racer", dir))
	}
	rounds := 100
	if raced {
		rounds = 20
	}
	for range rounds {
		for _, c := range racers {
			c.Send("go")
		}
		owners, ids := 0, map[string]bool{}
		for _, c := range racers {
			line, err := c.Recv()
			check(t, err)
			w := strings.Fields(line)
			if w[0] == "true" {
				owners++
			}
			if w[1] != "true" {
				t.Fatal("an opener has seen a value that was not initialised")
			}
			ids[w[2]] = true
		}
		if owners != 1 || len(ids) != 1 {
			t.Fatalf("%d owners of %d segments, want one of one", owners, len(ids))
		}
		for _, c := range racers {
			c.Send("close")
		}
		for _, c := range racers {
			c.Expect(t, "closed")
		}
		wantNames(t, dir)
	}
}

// The crate mapped more than the file held, and an access killed the process (SIGBUS). A box of
// any type was bound to a segment of any size.
func TestOriginalSizes(t *testing.T) {
	dir := shmemtest.Dir(t)
	s, err := shmem.CreateSegment("s", 8, &shmem.Options{Dir: dir})
	s = segment(t, s, err)
	_, err = shmem.OpenSegment("s", 1<<20, &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrMismatch)
	_, err = shmem.BoxOf[[4096]uint64](s)
	wantErr(t, err, shmem.ErrMismatch)
}

// The crate used a failed mapping as an address (MAP_FAILED). A negative size left a name and a
// descriptor.
func TestOriginalMapFailed(t *testing.T) {
	dir := shmemtest.Dir(t)
	for _, size := range []int{0, -1} {
		if s, err := shmem.OpenSegment("s", size, &shmem.Options{Dir: dir}); err == nil || s != nil {
			t.Errorf("size %d: %v, %v", size, s, err)
		}
	}
	wantNames(t, dir)
}

// The crate treated every error of the first open as "does not exist".
func TestOriginalErrors(t *testing.T) {
	dir := shmemtest.Dir(t)
	_, err := shmem.Open[point](strings.Repeat("n", 300), &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrBadName)
	check(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	_, err = shmem.Open[point]("d", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrNotRegular)
	check(t, os.Remove(filepath.Join(dir, "d")))
}

// Drop panicked when the name was gone already.
func TestOriginalNameGone(t *testing.T) {
	dir, n := shmemtest.Dir(t), drops(t)
	b := open[guest](t, dir, "g")
	check(t, os.Remove(filepath.Join(dir, "g")))
	check(t, b.Close())
	if *n != 1 {
		t.Errorf("%d drops, want 1", *n)
	}
	b = open[guest](t, dir, "g")
	check(t, os.RemoveAll(dir)) // the directory is gone too
	check(t, b.Close())
	check(t, os.Mkdir(dir, 0o700))
}

// Two owners unlinked twice: after own in two processes, or own while the creator owned.
func TestOriginalTwoOwners(t *testing.T) {
	dir, n := shmemtest.Dir(t), drops(t)
	creator, a, b := open[guest](t, dir, "g"), attach[guest](t, dir, "g"), attach[guest](t, dir, "g")
	check(t, errors.Join(a.Own(), b.Own(), a.Own()))
	if creator.Owned() || !a.Owned() || b.Owned() {
		t.Error("there is not exactly one owner")
	}
	check(t, errors.Join(creator.Close(), b.Close()))
	wantNames(t, dir, "g")
	check(t, a.Close())
	if *n != 1 {
		t.Errorf("%d drops, want 1", *n)
	}
}

// A former owner unlinked the new segment of another process, of the same name.
func TestOriginalStrangersSegment(t *testing.T) {
	dir := shmemtest.Dir(t)
	old := open[point](t, dir, "p")
	check(t, os.Remove(filepath.Join(dir, "p")))
	fresh := open[point](t, dir, "p")
	check(t, old.Close())
	if !fresh.Segment().Linked() {
		t.Error("a former owner has unlinked the new segment")
	}
}

// The crate accepted a type with pointers.
func TestOriginalPointers(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir}
	_, err := shmem.Open[[]byte]("x", o)
	wantErr(t, err, shmem.ErrBadType)
	_, err = shmem.Open[struct{ M sync.Mutex }]("x", o) // it has no pointer, and does not work between processes
	wantErr(t, err, shmem.ErrBadType, "M", "psync")
	_, err = shmem.Open[struct{ F func() }]("x", o)
	wantErr(t, err, shmem.ErrBadType)
	_, err = shmem.Open[map[int]int]("x", o)
	wantErr(t, err, shmem.ErrBadType)
	wantNames(t, dir)
}

// The crate did not check what the memory holds.
func TestOriginalTypes(t *testing.T) {
	dir := shmemtest.Dir(t)
	open[point](t, dir, "p")
	_, err := shmem.Open[struct{ X, Y float64 }]("p", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrMismatch, "X", "int64", "float64")
}

// A kill -9 of the owner leaked the segment, and the next opener saw stale bytes.
func TestOriginalDeadOwner(t *testing.T) {
	dir := shmemtest.Dir(t)
	c := shmemtest.Start(t, "racer", dir)
	dead := strings.Fields(c.Ask(t, "go"))
	c.Kill()
	wantNames(t, dir, "race")
	b := open[coin](t, dir, "race")
	if fmt.Sprint(b.Value().ID) == dead[2] || !b.Owned() {
		t.Error("the next opener sees the dead owner's value")
	}
	check(t, b.Close())
	wantNames(t, dir)
}

// message is the type of the crate's README and tests.
type message struct{ Value uint64 }

var messageDropped []uint64

func (m *message) Drop() { messageDropped = append(messageDropped, m.Value) }

// The crate's test "open_box" and README: one box creates and owns, another opens the name and
// sees the value.
func TestOriginalOpen(t *testing.T) {
	dir := shmemtest.Dir(t)
	messageDropped = nil
	owner := open[message](t, dir, "message")
	owner.Value().Value = 1
	other := open[message](t, dir, "message")
	if other.Value().Value != 1 {
		t.Errorf("the other sees %d", other.Value().Value)
	}
	other.Value().Value = 2
	check(t, other.Close())
	if owner.Value().Value != 2 || messageDropped != nil {
		t.Errorf("the owner sees %d, dropped %v", owner.Value().Value, messageDropped)
	}
	check(t, owner.Close())
	if len(messageDropped) != 1 || messageDropped[0] != 2 {
		t.Errorf("dropped %v, want [2]", messageDropped)
	}
}

// The README's Builder::new(name).with_size(n).open() and conf.boxed::<T>().
func TestOriginalBuilder(t *testing.T) {
	dir := shmemtest.Dir(t)
	s, err := shmem.OpenSegment("built", 8, &shmem.Options{Dir: dir})
	s = segment(t, s, err)
	b, err := shmem.BoxOf[message](s)
	check(t, err)
	b.Value().Value = 5
	if attach[message](t, dir, "built").Value().Value != 5 {
		t.Error("another sees another value")
	}
}

// The README's leak and own: the value outlives the process that has created it, until one owns it.
func TestOriginalLeakOwn(t *testing.T) {
	dir := shmemtest.Dir(t)
	messageDropped = nil
	b := open[message](t, dir, "message")
	b.Value().Value = 3
	check(t, b.Leak())
	if messageDropped != nil {
		t.Error("a leaked box was dropped")
	}
	b = open[message](t, dir, "message")
	check(t, b.Own())
	check(t, b.Close())
	if wantNames(t, dir); len(messageDropped) != 1 || messageDropped[0] != 3 {
		t.Errorf("dropped %v, want [3]", messageDropped)
	}
	_, err := shmem.Attach[message]("message", &shmem.Options{Dir: dir})
	wantErr(t, err, fs.ErrNotExist)
}

// The crate's test of two threads.
func TestOriginalThreads(t *testing.T) {
	dir := shmemtest.Dir(t)
	owner := open[message](t, dir, "message")
	done := make(chan error)
	go func() {
		b, err := shmem.Open[message]("message", &shmem.Options{Dir: dir})
		if err == nil {
			b.Value().Value = 7
			err = b.Close()
		}
		done <- err
	}()
	check(t, <-done)
	if owner.Value().Value != 7 {
		t.Errorf("the value of the other goroutine is %d", owner.Value().Value)
	}
}
