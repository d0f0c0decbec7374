package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "peer", Run: peerRole}) }

// peerRole opens, owns, leaks and closes the segment "s", and says its id.
func peerRole(c *shmemtest.Conn) error {
	var s *shmem.Segment
	for {
		line, err := c.Recv()
		if err != nil {
			return err
		}
		switch line {
		case "open":
			s, err = shmem.OpenSegment("s", 64, &shmem.Options{Dir: c.Args()[0]})
			if err == nil {
				c.Send("%d", s.ID())
				continue
			}
		case "own":
			err = s.Own()
		case "leak":
			err = s.Leak()
		case "close":
			err = s.Close()
		}
		c.Send("%v", err)
	}
}

// An eventLog receives the events of a segment.
type eventLog struct {
	events chan shmem.Event
	err    chan error
}

// follow begins to receive the events of s.
func follow(t *testing.T, s *shmem.Segment) *eventLog {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), shmemtest.DefaultLimit)
	t.Cleanup(cancel)
	l := &eventLog{make(chan shmem.Event, 1000), make(chan error, 1)}
	go func() {
		for e, err := range s.Events(ctx) {
			if err != nil {
				l.err <- err
				return
			}
			l.events <- e
		}
	}()
	return l
}

// next returns the next event.
func (l *eventLog) next(t *testing.T) shmem.Event {
	t.Helper()
	select {
	case e := <-l.events:
		return e
	case err := <-l.err:
		t.Fatal(err)
	}
	panic("unreachable")
}

// want checks the kind and the peer of the next event.
func (l *eventLog) want(t *testing.T, kind shmem.EventKind, id uint32) shmem.Event {
	t.Helper()
	e := l.next(t)
	if e.Kind != kind || e.Peer.ID != id {
		t.Errorf("%v of %d, want %v of %d", e.Kind, e.Peer.ID, kind, id)
	}
	return e
}

func askID(t *testing.T, c *shmemtest.Child) uint32 {
	t.Helper()
	id, err := strconv.ParseUint(c.Ask(t, "open"), 10, 32)
	check(t, err)
	return uint32(id)
}

func askOK(t *testing.T, c *shmemtest.Child, what string) {
	t.Helper()
	if got := c.Ask(t, "%s", what); got != "<nil>" {
		t.Fatalf("%s: %s", what, got)
	}
}

func openSegment(t *testing.T, dir string, l shmem.Lifetime) *shmem.Segment {
	t.Helper()
	s, err := shmem.OpenSegment("s", 64, &shmem.Options{Dir: dir, Lifetime: l})
	check(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestEvents(t *testing.T) {
	dir := shmemtest.Dir(t)
	s := openSegment(t, dir, shmem.Shared)
	one := shmemtest.Start(t, "peer", dir)
	first := askID(t, one)
	log := follow(t, s)
	log.want(t, shmem.Attached, s.ID())
	if e := log.want(t, shmem.Attached, first); e.Peer.PID != one.Pid() || e.Peer.Owner {
		t.Errorf("the peer is %+v", e.Peer)
	}
	two := shmemtest.Start(t, "peer", dir)
	second := askID(t, two)
	log.want(t, shmem.Attached, second)
	askOK(t, one, "own")
	if e := log.want(t, shmem.OwnerChanged, first); !e.Peer.Owner || e.Peer.PID != one.Pid() {
		t.Errorf("the owner is %+v", e.Peer)
	}
	askOK(t, two, "close")
	log.want(t, shmem.Left, second)
	// The slot is used again.
	third := askID(t, two)
	if third == second {
		t.Error("an id is used again")
	}
	log.want(t, shmem.Attached, third)
	two.Kill()
	if e := log.want(t, shmem.Died, third); e.Peer.Owner {
		t.Errorf("it was no owner: %+v", e.Peer)
	}
	askOK(t, one, "leak")
	for _, e := range []shmem.Event{log.next(t), log.next(t)} {
		switch {
		case e.Kind == shmem.OwnerChanged && e.Peer == shmem.Peer{}:
		case e.Kind == shmem.Left && e.Peer.ID == first && e.Peer.Owner:
		default:
			t.Errorf("after Leak: %+v", e)
		}
	}
	if l := s.Lifetime(); l != shmem.Kept {
		t.Errorf("lifetime %v", l)
	}
	check(t, shmem.Remove(dir, "s"))
	log.want(t, shmem.NameTaken, 0)
	check(t, s.Close())
	if err := <-log.err; !errors.Is(err, shmem.ErrClosed) {
		t.Error(err)
	}
}

// The owner of a segment ends, politely or not.
func TestEventsOfOwner(t *testing.T) {
	dir := shmemtest.Dir(t)
	one := shmemtest.Start(t, "peer", dir)
	owner := askID(t, one)
	s := openSegment(t, dir, 0)
	log := follow(t, s)
	if e := log.want(t, shmem.Attached, owner); !e.Peer.Owner {
		t.Errorf("the owner is %+v", e.Peer)
	}
	log.want(t, shmem.Attached, s.ID())
	if l := s.Lifetime(); l != shmem.Owned {
		t.Errorf("lifetime %v", l)
	}
	one.Kill()
	if e := log.want(t, shmem.Died, owner); !e.Peer.Owner {
		t.Errorf("the dead owner is %+v", e.Peer)
	}
	check(t, s.Own())
	log.want(t, shmem.OwnerChanged, s.ID())

	two := shmemtest.Start(t, "peer", dir)
	second := askID(t, two)
	log.want(t, shmem.Attached, second)
	askOK(t, two, "own")
	log.want(t, shmem.OwnerChanged, second)
	askOK(t, two, "close")
	for _, e := range []shmem.Event{log.next(t), log.next(t)} {
		switch {
		case e.Kind == shmem.NameTaken && e.Peer == shmem.Peer{}:
		case e.Kind == shmem.Left && e.Peer.ID == second && e.Peer.Owner:
		default:
			t.Errorf("after Close of the owner: %+v", e)
		}
	}
}

// The slot of a killed process is taken before the sequence of events looks.
func TestEventsOfReusedSlot(t *testing.T) {
	dir := shmemtest.Dir(t)
	s := openSegment(t, dir, shmem.Shared)
	for range 20 {
		one := shmemtest.Start(t, "peer", dir)
		killed := askID(t, one)
		log := follow(t, s)
		log.want(t, shmem.Attached, s.ID())
		log.want(t, shmem.Attached, killed)
		one.Kill()
		two, err := shmem.AttachSegment("s", &shmem.Options{Dir: dir})
		check(t, err)
		log.want(t, shmem.Died, killed)
		log.want(t, shmem.Attached, two.ID())
		check(t, two.Close())
		log.want(t, shmem.Left, two.ID())
	}
}

// Attachments come and go before the sequence of events looks again.
func TestEventsOfSlowLoop(t *testing.T) {
	dir := shmemtest.Dir(t)
	s := openSegment(t, dir, shmem.Shared)
	ctx, cancel := context.WithTimeout(context.Background(), shmemtest.DefaultLimit)
	defer cancel()
	next, stop := iter.Pull2(s.Events(ctx))
	defer stop()
	want := func(kind shmem.EventKind, id uint32) {
		t.Helper()
		e, err, _ := next()
		if err != nil || e.Kind != kind || e.Peer.ID != id {
			t.Errorf("%v of %d (%v), want %v of %d", e.Kind, e.Peer.ID, err, kind, id)
		}
	}
	want(shmem.Attached, s.ID())
	one := shmemtest.Start(t, "peer", dir)
	killed := askID(t, one)
	one.Kill()
	two := shmemtest.Start(t, "peer", dir)
	left := askID(t, two)
	askOK(t, two, "close")
	third := askID(t, two) // in the slot of the one that has left
	want(shmem.Attached, killed)
	want(shmem.Died, killed)
	want(shmem.Attached, third)
	if left>>10 == third>>10 || left&1023 != third&1023 {
		t.Errorf("ids %d, %d, %d", killed, left, third)
	}
	four, err := shmem.AttachSegment("s", &shmem.Options{Dir: dir})
	check(t, err)
	check(t, four.Close())
	want(shmem.Attached, four.ID())
	want(shmem.Left, four.ID())
}

// A process that has many attachments dies, and all of them are reported.
func TestEventsOfMany(t *testing.T) {
	dir := shmemtest.Dir(t)
	s := openSegment(t, dir, shmem.Shared)
	log := follow(t, s)
	log.want(t, shmem.Attached, s.ID())
	c := shmemtest.Start(t, "peer", dir)
	const n = 100
	alive := map[uint32]bool{}
	for range n {
		id := askID(t, c)
		log.want(t, shmem.Attached, id)
		alive[id] = true
	}
	c.Kill()
	for range n {
		e := log.next(t)
		if e.Kind != shmem.Died || !alive[e.Peer.ID] {
			t.Fatalf("%v of %d", e.Kind, e.Peer.ID)
		}
		delete(alive, e.Peer.ID)
	}
}

// A file that is renamed, or removed by rm, has lost its name.
func TestEventsOfName(t *testing.T) {
	for _, how := range []func(dir string) error{
		func(dir string) error { return os.Remove(dir + "/s") },
		func(dir string) error { return os.Rename(dir+"/s", dir+"/t") },
		func(dir string) error { return shmem.Remove(dir, "s") },
	} {
		dir := shmemtest.Dir(t)
		s := openSegment(t, dir, shmem.Kept)
		log := follow(t, s)
		log.want(t, shmem.Attached, s.ID())
		check(t, how(dir))
		log.want(t, shmem.NameTaken, 0)
		<-s.Unlinked()
		check(t, s.Close())
		_ = shmem.Remove(dir, "t")
	}
}

func TestEventsErrors(t *testing.T) {
	dir := shmemtest.Dir(t)
	s := openSegment(t, dir, 0)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	for e, err := range s.Events(ctx) {
		if n++; n == 1 {
			if err != nil || e.Kind != shmem.Attached || e.Peer.ID != s.ID() {
				t.Errorf("%+v, %v", e, err)
			}
			cancel()
			continue
		}
		if want := "shmem: events s: context canceled"; err == nil || err.Error() != want {
			t.Errorf("after cancel: %v", err)
		}
	}
	if n != 2 {
		t.Errorf("%d events", n)
	}
	check(t, s.Close())
	for _, err := range s.Events(context.Background()) {
		if !errors.Is(err, shmem.ErrClosed) {
			t.Error(err)
		}
	}
	if _, err := s.Peers(); !errors.Is(err, shmem.ErrClosed) {
		t.Error(err)
	}
	if got := fmt.Sprint(shmem.Died, shmem.EventKind(9)); got != "died EventKind(9)" {
		t.Error(got)
	}
}

func TestPeers(t *testing.T) {
	dir := shmemtest.Dir(t)
	s := openSegment(t, dir, 0)
	c := shmemtest.Start(t, "peer", dir)
	id := askID(t, c)
	peers, err := s.Peers()
	check(t, err)
	if len(peers) != 2 || peers[0].ID != s.ID() || !peers[0].Owner || peers[1].ID != id ||
		peers[1].Owner || peers[1].PID != c.Pid() || peers[1].Since.IsZero() {
		t.Errorf("peers %+v", peers)
	}
	info, err := shmem.Stat(dir, "s")
	check(t, err)
	if len(info.Peers) != 2 || info.Peers[1] != peers[1] || *info.Owner != peers[0] {
		t.Errorf("Stat says %+v, owner %+v", info.Peers, info.Owner)
	}
	c.Kill()
	for {
		if peers, err = s.Peers(); err != nil || len(peers) == 1 {
			check(t, err)
			break
		}
		time.Sleep(time.Millisecond)
	}
}

// Nothing is left of the sequences of a closed segment.
func TestEventsLeaveNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	dir := shmemtest.Dir(t)
	s := openSegment(t, dir, 0)
	other := openSegment(t, dir, 0)
	logs := []*eventLog{follow(t, s), follow(t, s), follow(t, other)}
	for _, l := range logs {
		l.want(t, shmem.Attached, s.ID())
		l.want(t, shmem.Attached, other.ID())
	}
	check(t, s.Close())
	check(t, other.Close())
	for _, l := range logs {
		if err := <-l.err; !errors.Is(err, shmem.ErrClosed) {
			t.Error(err)
		}
	}
	for end := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			stacks := string(buf[:runtime.Stack(buf, true)])
			t.Fatalf("%d goroutines, %d before:\n%s", strings.Count(stacks, "goroutine "), before, stacks)
		}
		time.Sleep(time.Millisecond)
	}
}
