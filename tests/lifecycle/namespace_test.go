//go:build linux

package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles,
		shmemtest.Role{Name: "box", Run: boxRole},
		shmemtest.Role{Name: "other-user", Run: otherUserRole, Optional: true})
}

// boxRole executes commands on the box "b".
func boxRole(c *shmemtest.Conn) error {
	sys.AvoidNameless = len(c.Args()) > 1
	o := &shmem.Options{Dir: c.Args()[0]}
	var b *shmem.Box[coin]
	for {
		line, err := c.Recv()
		if err != nil {
			return err
		}
		switch line {
		case "pid":
			c.Send("pid %d", os.Getpid())
			continue
		case "open":
			b, err = shmem.Open[coin]("b", o)
		case "own":
			err = b.Own()
		case "owned":
			c.Send("%v", b.Owned())
			continue
		case "close":
			err = b.Close()
		case "leak":
			err = b.Leak()
		case "id":
			c.Send("%d %v", b.Value().ID, b.Value().Check == ^b.Value().ID)
			continue
		case "reclaim":
			n := 0
			for range shmem.Reclaim(o.Dir) {
				n++
			}
			c.Send("%d", n)
			continue
		case "names":
			entries, err := os.ReadDir(o.Dir)
			c.Send("%d %v", len(entries), err)
			continue
		}
		c.Send("%v", err)
	}
}

// guarantees checks the lifecycle between two processes.
func guarantees(t *testing.T, dir string, one, two *shmemtest.Child) {
	t.Helper()
	ask := func(c *shmemtest.Child, what, want string) {
		t.Helper()
		if got := c.Ask(t, "%s", what); got != want {
			t.Errorf("%s of %s: %s, want %s", what, c, got, want)
		}
	}
	ask(one, "open", "<nil>")
	ask(two, "open", "<nil>")
	ask(one, "owned", "true")
	ask(two, "owned", "false")
	id := one.Ask(t, "id")
	ask(two, "id", id)
	ask(two, "reclaim", "0") // the process in the other namespace is alive
	ask(two, "close", "<nil>")
	ask(two, "open", "<nil>")
	ask(two, "id", id)
	ask(two, "own", "<nil>")
	ask(one, "owned", "false")
	ask(one, "close", "<nil>")
	ask(one, "open", "<nil>")
	ask(one, "id", id)
	two.Kill() // the owner
	ask(one, "id", id)
	ask(one, "reclaim", "0")
	ask(one, "close", "<nil>") // the last one
	wantNames(t, dir)
	ask(one, "open", "<nil>")
	one.Kill()
	wantNames(t, dir, "b")
	reclaim(t, dir)
	wantNames(t, dir)
}

func TestNamelessRefused(t *testing.T) {
	dir := shmemtest.Dir(t)
	guarantees(t, dir, shmemtest.Start(t, "box", dir, "temporary names"), shmemtest.Start(t, "box", dir))
}

// pidNamespace returns attributes of a process with its own PID namespace.
func pidNamespace(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	a := namespaces(syscall.CLONE_NEWPID)
	p, err := os.StartProcess("/proc/self/exe", []string{"x", "-test.run=^$"}, &os.ProcAttr{Sys: a})
	if err != nil {
		t.Skipf("a PID namespace needs root, or a kernel that lets users make namespaces: %v", err)
	}
	_, _ = p.Wait()
	return a
}

// Two processes have the same pid, in containers that share the directory.
func TestPIDNamespaces(t *testing.T) {
	a := pidNamespace(t)
	dir := shmemtest.Dir(t)
	start := func() *shmemtest.Child {
		return shmemtest.Command{Role: "box", Args: []string{dir}, SysProcAttr: a}.Start(t)
	}
	one, two := start(), start()
	one.Send("pid")
	two.Send("pid")
	one.Expect(t, "pid 1")
	two.Expect(t, "pid 1")
	guarantees(t, dir, one, two)
	guarantees(t, dir, start(), shmemtest.Start(t, "box", dir)) // one process inside, one outside
}

// otherUserRole becomes another user than root, does one thing and reports the error.
func otherUserRole(c *shmemtest.Conn) error {
	what, dir := c.Args()[0], c.Args()[1]
	if err := syscall.Setuid(noUser); err != nil {
		return err
	}
	o := &shmem.Options{Dir: dir}
	var err error
	switch what {
	case "open":
		_, err = shmem.Open[point]("p", o)
	case "open any":
		_, err = shmem.Open[point]("p", &shmem.Options{Dir: dir, AnyUser: true})
	case "own":
		var b *shmem.Box[point]
		if b, err = shmem.Attach[point]("p", &shmem.Options{Dir: dir, AnyUser: true}); err == nil {
			err = errors.Join(b.Own(), b.Close())
		}
	case "read":
		var b *shmem.Box[point]
		if b, err = shmem.Attach[point]("p", &shmem.Options{Dir: dir, AnyUser: true, ReadOnly: true}); err == nil {
			c.Send("X %d", b.Value().X)
			_, _ = c.Recv() // the parent checks
			err = errors.Join(b.Segment().Populate(), b.Close())
		}
	case "read until unlinked":
		var b *shmem.Box[point]
		o := &shmem.Options{Dir: dir, AnyUser: true, ReadOnly: true}
		if b, err = shmem.AttachWait[point](context.Background(), "p", o); err == nil {
			unlinked := b.Unlinked()
			peers, peersErr := b.Segment().Peers()
			c.Send("reads, peers %d %v, id %d, lifetime %v", len(peers), peersErr, b.Segment().ID(),
				b.Segment().Lifetime())
			<-unlinked
			c.Send("unlinked: linked %v", b.Linked())
			for _, err := range b.Segment().Events(context.Background()) {
				c.Send("events: %v", errors.Is(err, shmem.ErrReadOnly))
			}
			err = b.Close()
		}
	case "remove":
		err = shmem.Remove(o.Dir, "p")
	case "stat":
		var info shmem.Info
		if info, err = shmem.Stat(o.Dir, "p"); err == nil {
			c.Send("state %v", info.State)
		}
	case "reclaim":
		for info, err := range shmem.Reclaim(o.Dir) {
			c.Send("%s %v", info.Name, err)
		}
	case "leave":
		_, err = shmem.Create[point]("theirs", o) // the process dies as the owner
	}
	if err != nil {
		c.Send("%v, %v, %v: %v", errors.Is(err, shmem.ErrOtherUser), errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), err)
	}
	c.Send("end")
	return nil
}

// sticky returns a directory like /dev/shm: every user can create files there, and unlink only own
// ones.
func sticky(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("another user's process needs root")
	}
	dir := shmemtest.Dir(t)
	check(t, os.Chmod(dir, 0o777|fs.ModeSticky))
	return dir
}

func other(t *testing.T, what, dir string) *shmemtest.Child {
	return shmemtest.Start(t, "other-user", what, dir)
}

// said returns the whole report of the other user.
func said(t *testing.T, what, dir string) string {
	t.Helper()
	var lines []string
	for c := other(t, what, dir); ; {
		line, err := c.Recv()
		check(t, err)
		if line == "end" {
			check(t, c.Wait())
			return strings.Join(lines, "\n")
		}
		lines = append(lines, line)
	}
}

func wantSaid(t *testing.T, got string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(got, w) {
			t.Errorf("the report of the other user does not have %q: %q", w, got)
		}
	}
}

func TestOtherUsersPrivateBox(t *testing.T) {
	dir := sticky(t)
	b := open[point](t, dir, "p")
	for _, what := range []string{"open", "open any", "read", "stat", "remove"} {
		wantSaid(t, said(t, what, dir), "false, true, false", "uid 65534")
	}
	wantSaid(t, said(t, "reclaim", dir))
	if !b.Segment().Linked() {
		t.Error("another user has removed it")
	}
	abandon(b.Segment())
	if got := said(t, "reclaim", dir); got != "" {
		t.Errorf("another user has reclaimed %q", got)
	}
	wantSaid(t, said(t, "open", dir), "false, true, false")
	reclaim(t, dir)
}

func TestOtherUsersSharedBox(t *testing.T) {
	dir := sticky(t)
	o := &shmem.Options{Dir: dir, Mode: 0o666}
	b, err := shmem.Create[point]("p", o)
	b = opened(t, b, err)
	wantSaid(t, said(t, "open", dir), "true, false, false", "uid 0", "Options.AnyUser")
	if got := said(t, "open any", dir); got != "" {
		t.Errorf("open with AnyUser: %s", got)
	}
	wantSaid(t, said(t, "own", dir), "false, true, false", "may not unlink", "65534")
	if !b.Owned() {
		t.Error("another user owns it, which cannot unlink it")
	}
	wantSaid(t, said(t, "remove", dir), "false, true, false", "only that user")
	wantSaid(t, said(t, "stat", dir), "state live")
	abandon(b.Segment())
	wantSaid(t, said(t, "stat", dir), "state garbage")
	wantSaid(t, said(t, "open any", dir), "false, true, false", "only that user, the owner of "+dir)
	wantNames(t, dir, "p")
	reclaim(t, dir)
}

// A reader by permission takes no slot and keeps nothing alive: the segment becomes garbage, and the
// reader keeps its memory.
func TestReaderByPermission(t *testing.T) {
	dir := sticky(t)
	b, err := shmem.Create[point]("p", &shmem.Options{Dir: dir, Mode: 0o644})
	b = opened(t, b, err)
	b.Value().X = 5
	c := other(t, "read", dir)
	c.Expect(t, "X 5")
	info, err := shmem.Stat(dir, "p")
	if err != nil || !info.Readers || len(info.Peers) != 1 {
		t.Errorf("readers %v, %d peers (%v)", info.Readers, len(info.Peers), err)
	}
	abandon(b.Segment())
	if info, err = shmem.Stat(dir, "p"); err != nil || info.State != shmem.Garbage || !info.Readers {
		t.Errorf("with a reader it is %v (%v)", info.State, err)
	}
	reclaim(t, dir)
	wantNames(t, dir)
	c.Send("go")
	c.Expect(t, "end")
	check(t, c.Wait())
}

// Files of another user are refused.
func TestSegmentOfAnotherUser(t *testing.T) {
	dir := sticky(t)
	if got := said(t, "leave", dir); got != "" {
		t.Fatal(got)
	}
	o := &shmem.Options{Dir: dir}
	_, err := shmem.Open[point]("theirs", o)
	wantErr(t, err, shmem.ErrOtherUser, "uid 65534", "Options.AnyUser", "another name")
	_, err = shmem.AttachSegment("theirs", &shmem.Options{Dir: dir, Foreign: true})
	if err == nil {
		t.Error("attached as foreign to another user's file")
	}
	reclaim(t, dir)
	wantNames(t, dir, "theirs")
	check(t, shmem.Remove(o.Dir, "theirs")) // this process is root
}

func TestUnwritableDirectory(t *testing.T) {
	dir := sticky(t)
	check(t, os.Chmod(dir, 0o755))
	wantSaid(t, said(t, "open", dir), "false, true, false", "directory "+dir, "uid 65534 cannot create", "Options.Dir")
	check(t, os.Chmod(dir, 0o700))
	wantSaid(t, said(t, "open", dir), "false, true, false", "directory "+dir)
}

// A user other than root gets the same errors for own files without permission.
func TestOwnUnreadableFile(t *testing.T) {
	if os.Getuid() == 0 {
		return // root may read every file; the tests with another user show the same
	}
	dir := shmemtest.Dir(t)
	check(t, os.WriteFile(filepath.Join(dir, "p"), nil, 0o600))
	check(t, os.Chmod(filepath.Join(dir, "p"), 0))
	_, err := shmem.Open[point]("p", &shmem.Options{Dir: dir})
	wantErr(t, err, fs.ErrPermission, fmt.Sprint("uid ", os.Getuid()), "Options.Mode")
	check(t, os.Remove(filepath.Join(dir, "p")))
	check(t, os.Chmod(dir, 0o500))
	_, err = shmem.Open[point]("p", &shmem.Options{Dir: dir})
	wantErr(t, err, fs.ErrPermission, "directory "+dir, "Options.Dir")
	check(t, os.Chmod(dir, 0o700))
}

// A process of another user that may only read the file is told too.
func TestUnlinkedReader(t *testing.T) {
	dir := sticky(t)
	b, err := shmem.Create[point]("p", &shmem.Options{Dir: dir, Mode: 0o644})
	b = opened(t, b, err)
	c := other(t, "read until unlinked", dir)
	c.Expect(t, "reads, peers 1 <nil>, id 0, lifetime owned")
	check(t, b.Close())
	c.Expect(t, "unlinked: linked false")
	c.Expect(t, "events: true")
	c.Expect(t, "end")
	check(t, c.Wait())
}

// Processes in other PID namespaces are seen too.
func TestEventsOfOtherNamespace(t *testing.T) {
	a := pidNamespace(t)
	dir := shmemtest.Dir(t)
	s := openSegment(t, dir, shmem.Shared)
	log := follow(t, s)
	log.want(t, shmem.Attached, s.ID())
	inside := shmemtest.Command{Role: "peer", Args: []string{dir}, SysProcAttr: a}.Start(t)
	id := askID(t, inside)
	if e := log.want(t, shmem.Attached, id); e.Peer.PID != 1 {
		t.Errorf("the peer is %+v", e.Peer)
	}
	inside.Kill()
	log.want(t, shmem.Died, id)
}
