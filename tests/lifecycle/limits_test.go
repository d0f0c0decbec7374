//go:build linux

package lifecycle_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles,
		shmemtest.Role{Name: "grouped", Run: groupedRole, Optional: true},
		shmemtest.Role{Name: "file-limit", Run: fileLimitRole},
		shmemtest.Role{Name: "without-proc", Run: withoutProcRole, Optional: true},
		shmemtest.Role{Name: "read-only-mount", Run: readOnlyMountRole, Optional: true},
		shmemtest.Role{Name: "namespaced", Run: namespacedRole, Optional: true})
}

// groupedRole enters a cgroup and makes segments there.
func groupedRole(c *shmemtest.Conn) error {
	group, dir := c.Args()[0], c.Args()[1]
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return err
	}
	o := &shmem.Options{Dir: dir, Undo: shmem.UndoNever}
	for {
		line, err := c.Recv()
		if err != nil {
			return err
		}
		var s *shmem.Segment
		kind, rest, _ := strings.Cut(line, " ")
		size, _ := strconv.Atoi(rest)
		switch kind {
		case "named":
			s, err = shmem.OpenSegment("s", size, o)
		case "anonymous":
			s, err = shmem.CreateAnonymous(size, o)
		case "holes":
			path := filepath.Join(dir, "holes")
			err = errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, int64(size)))
			if err == nil {
				s, err = shmem.AttachSegment("holes", &shmem.Options{Dir: dir, Foreign: true})
			}
			if err == nil {
				err = s.Populate()
				check := errors.Join(s.Close(), os.Remove(path))
				if err == nil {
					err = check
				}
			}
		}
		e, ok := errors.AsType[*shmem.SpaceError](err)
		if ok {
			c.Send("no space: %v %d %v", e.Group, e.Size, err)
			continue
		}
		if err == nil {
			err = s.Close()
		}
		c.Send("%v", err)
	}
}

// memoryGroups returns where memory cgroups can be made, and the name of the limit's file; "" where
// they cannot.
func memoryGroups() (dir, limit string) {
	for dir, limit := range map[string]string{
		"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max",
	} {
		probe := filepath.Join(dir, fmt.Sprintf("shmem-probe-%d", os.Getpid()))
		if os.Mkdir(probe, 0o755) != nil {
			continue
		}
		_, err := os.Stat(filepath.Join(probe, limit))
		_ = os.Remove(probe)
		if err == nil {
			return dir, limit
		}
	}
	return "", ""
}

// A segment that the memory cgroup has no room for is ErrNoSpace, not the end of the process. The
// limit is that of the group above.
func TestMemoryCgroup(t *testing.T) {
	groups, limit := memoryGroups()
	if groups == "" {
		t.Log("this user cannot make memory cgroups: only internal/sys's TestRoom checks them")
		return
	}
	const most = 48 << 20
	parent := filepath.Join(groups, fmt.Sprintf("shmem-test-%d", os.Getpid()))
	group := filepath.Join(parent, "below")
	check(t, os.Mkdir(parent, 0o755))
	t.Cleanup(func() { check(t, os.Remove(parent)) })
	check(t, os.WriteFile(filepath.Join(parent, limit), []byte(strconv.Itoa(most)), 0))
	if limit == "memory.max" {
		_ = os.WriteFile(filepath.Join(parent, "memory.swap.max"), []byte("0"), 0)
		check(t, os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory"), 0))
	}
	check(t, os.Mkdir(group, 0o755))
	t.Cleanup(func() { check(t, os.Remove(group)) })
	dir := shmemtest.Dir(t)
	c := shmemtest.Start(t, "grouped", group, dir)
	for _, kind := range []string{"named", "anonymous", "holes"} {
		for _, size := range []int{64 << 20, 200 << 20} {
			got := c.Ask(t, "%s %d", kind, size)
			name := "/" + filepath.Base(parent)
			for _, want := range []string{"no space: " + name + " " + strconv.Itoa(most), "memory cgroup " + name,
				"limit of 48 MiB", "docker run --memory", "MemoryMax="} {
				if !strings.Contains(got, want) {
					t.Errorf("%s of %d: %q, want %q", kind, size, got, want)
				}
			}
		}
		if got := c.Ask(t, "%s %d", kind, 8<<20); got != "<nil>" {
			t.Errorf("%s: what there is room for: %s", kind, got)
		}
	}
	check(t, c.Close())
	wantNames(t, dir)
}

// A machine that has not so much memory says so, whatever the tmpfs allows.
func TestMachineHasNoRoom(t *testing.T) {
	if math.MaxInt == math.MaxInt32 {
		return // the machine may have more than a segment can have
	}
	size := math.MaxInt >> 17 // 64 TiB
	_, err := shmem.CreateAnonymous(size, nil)
	wantErr(t, err, shmem.ErrNoSpace, "create anonymous", "the machine has no room", "GiB needed")
	wantErr(t, err, syscall.ENOMEM)
}

// Inodes that are used up are told as such.
func TestNoInodesText(t *testing.T) {
	dir := smallTmpfs(t, "1m,nr_inodes=2")
	open[point](t, dir, "a")
	_, err := shmem.Open[point]("c", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrNoSpace, dir, "inodes", "nr_inodes")
	e, ok := errors.AsType[*shmem.SpaceError](err)
	if !ok || !e.NoInode || strings.Contains(err.Error(), "larger") {
		t.Errorf("%+v: %v", e, err)
	}
}

// fileLimitRole opens a box where the process may not make so large a file.
func fileLimitRole(c *shmemtest.Conn) error {
	limit := syscall.Rlimit{Cur: 4096, Max: 4096}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	_, err := shmem.Open[point]("p", &shmem.Options{Dir: c.Args()[0]})
	c.Send("%v %v", errors.Is(err, syscall.EFBIG), err)
	return nil
}

// A limit of the process's files is told as such.
func TestFileLimit(t *testing.T) {
	dir := shmemtest.Dir(t)
	line, err := shmemtest.Start(t, "file-limit", dir).Recv()
	check(t, err)
	if !strings.HasPrefix(line, "true") || !strings.Contains(line, "ulimit -f") {
		t.Errorf("%q", line)
	}
	wantNames(t, dir)
}

// withoutProcRole covers /proc and uses segments.
func withoutProcRole(c *shmemtest.Conn) error {
	dir := c.Args()[0]
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := syscall.Mount("none", "/proc", "tmpfs", 0, ""); err != nil {
		return err
	}
	o := &shmem.Options{Dir: dir}
	b, err := shmem.Open[point]("p", o)
	if err != nil {
		c.Send("open: %v", err)
		return nil
	}
	other, err := shmem.Attach[point]("p", o)
	err = errors.Join(err, other.Close())
	f, err1 := b.Segment().File()
	_, err2 := shmem.FromFile(f, o)
	c.Send("%v; %v; %v; %v", err, err1, err2, b.Close())
	s, err := shmem.CreateAnonymous(8, nil)
	if err != nil {
		c.Send("%v", err)
		return nil
	}
	_, err = s.File()
	c.Send("%v %v", err, s.Close())
	return nil
}

// Without /proc boxes work all the same. What cannot work says why.
func TestWithoutProc(t *testing.T) {
	if !canMount() {
		t.Log("this user cannot mount")
		return
	}
	dir := shmemtest.Dir(t)
	c := shmemtest.Command{Role: "without-proc", Args: []string{dir}, SysProcAttr: namespaces(syscall.CLONE_NEWNS)}.Start(t)
	line, err := c.Recv()
	check(t, err)
	for _, want := range []string{"<nil>; <nil>; ", "/proc is not mounted", "mount -t proc proc /proc", "; <nil>"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q, want %q", line, want)
		}
	}
	line, err = c.Recv()
	check(t, err)
	if !strings.Contains(line, "/proc is not mounted") || !strings.HasSuffix(line, "<nil>") {
		t.Errorf("File of an anonymous segment: %q", line)
	}
	wantNames(t, dir)
}

// readOnlyMountRole mounts a directory read-only over itself, and uses segments there.
func readOnlyMountRole(c *shmemtest.Conn) error {
	dir := c.Args()[0]
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
		return err
	}
	if err := syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	o := &shmem.Options{Dir: dir}
	_, err := shmem.Create[point]("new", o)
	c.Send("%v %v", errors.Is(err, syscall.EROFS), err)
	_, err = shmem.Attach[point]("p", o)
	c.Send("%v %v", errors.Is(err, syscall.EROFS), err)
	err = shmem.Remove(dir, "p")
	c.Send("%v %v", errors.Is(err, syscall.EROFS), err)
	o.ReadOnly = true
	b, err := shmem.Attach[point]("p", o)
	if err == nil {
		err = b.Close()
	}
	c.Send("%v", err)
	return nil
}

// A mount that is read-only is told as such, and can be read.
func TestReadOnlyMount(t *testing.T) {
	if !canMount() {
		t.Log("this user cannot mount")
		return
	}
	dir := shmemtest.Dir(t)
	open[point](t, dir, "p")
	c := shmemtest.Command{Role: "read-only-mount", Args: []string{dir}, SysProcAttr: namespaces(syscall.CLONE_NEWNS)}.Start(t)
	for range 3 {
		line, err := c.Recv()
		check(t, err)
		if !strings.HasPrefix(line, "true ") || !strings.Contains(line, "mounted read-only") || !strings.Contains(line, "remount,rw") ||
			strings.Contains(line, "1777") {
			t.Error(line)
		}
	}
	c.Expect(t, "<nil>")
}

// namespacedRole runs in a user namespace that maps no user.
func namespacedRole(c *shmemtest.Conn) error {
	dir := c.Args()[0]
	o := &shmem.Options{Dir: dir}
	_, err := shmem.Attach[point]("theirs", o)
	c.Send("%d %v %v", os.Geteuid(), errors.Is(err, shmem.ErrOtherUser), err)
	_, err = shmem.AttachSegment("foreign", &shmem.Options{Dir: dir, Foreign: true})
	c.Send("%v %v", errors.Is(err, shmem.ErrOtherUser), err)
	for range shmem.Reclaim(dir) {
		return errors.New("reclaimed what belongs to another user")
	}
	o.AnyUser = true
	b, err := shmem.Attach[point]("theirs", o)
	if err == nil {
		err = b.Close()
	}
	c.Send("%v", err)
	o.AnyUser = false
	b, err = shmem.Open[point]("mine", o)
	if err != nil {
		c.Send("create: %v", err)
		return nil
	}
	again, err := shmem.Attach[point]("mine", o)
	if err == nil {
		err = again.Close()
	}
	c.Send("%v", errors.Join(err, b.Own(), b.Close()))
	return nil
}

// In a user namespace that maps no user, every user has the same uid: that of the process. Only
// what it has made itself is its own.
func TestOverflowUser(t *testing.T) {
	if os.Geteuid() != 0 || !canMount() {
		t.Log("this needs root: one user makes files, another one is in the namespace")
		return
	}
	dir := shmemtest.Dir(t)
	check(t, os.Chmod(dir, 0o777|fs.ModeSticky))
	o := &shmem.Options{Dir: dir, Mode: 0o666}
	b, err := shmem.Create[point]("theirs", o)
	check(t, err)
	dead, err := shmem.Create[point]("dead", o)
	check(t, err)
	abandon(dead.Segment())
	path := filepath.Join(dir, "foreign")
	check(t, os.WriteFile(path, make([]byte, 100), 0o666))
	check(t, os.Chmod(path, 0o666))
	for _, name := range []string{"theirs", "dead", "foreign"} {
		check(t, os.Chown(filepath.Join(dir, name), 12345, -1))
	}
	c := shmemtest.Command{Role: "namespaced", Args: []string{dir},
		SysProcAttr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}}.Start(t)
	line, err := c.Recv()
	check(t, err)
	for _, want := range []string{"65534 true", "user namespace", "uid_map", "Options.AnyUser"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q, want %q", line, want)
		}
	}
	c.Expect(t, "true")
	c.Expect(t, "<nil>")
	c.Expect(t, "<nil>")
	check(t, b.Close())
	check(t, shmem.Remove(dir, "dead"))
	check(t, os.Remove(path))
}

// FromFile refuses a file that its maker can truncate unseen: one without a name and without seals.
func TestFromFileUnsealed(t *testing.T) {
	dir := shmemtest.Dir(t)
	image := func() []byte {
		s, err := shmem.CreateSegment("s", 64, &shmem.Options{Dir: dir, Lifetime: shmem.Kept})
		defer func() { check(t, s.Own()); check(t, s.Close()) }()
		check(t, err)
		b, err := os.ReadFile(filepath.Join(dir, "s"))
		check(t, err)
		return b
	}()
	nameless := map[string]func() *os.File{
		"no seals": func() *os.File {
			fd, err := sys.CreateAnonymous("unsealed")
			check(t, err)
			return fd.File("unsealed")
		},
		"tmpfs": func() *os.File {
			f, err := os.OpenFile(dir, os.O_RDWR|syscall.O_DIRECTORY|0o20000000, 0o600) // O_TMPFILE
			check(t, err)
			return f
		},
		"removed": func() *os.File {
			f, err := os.Create(filepath.Join(dir, "removed"))
			check(t, err)
			check(t, os.Remove(f.Name()))
			return f
		},
	}
	for what, create := range nameless {
		f := create()
		var st syscall.Stat_t
		check(t, syscall.Fstat(int(f.Fd()), &st))
		format.Adopt(image[len(image)-format.HeaderSize:], st.Ino, st.Dev)
		_, err := f.Write(image)
		check(t, err)
		_, err = shmem.FromFile(f, nil)
		wantErr(t, err, shmem.ErrUnsealed, "attach from file", "truncate", "Options.AnyUser")
		s, err := shmem.FromFile(f, &shmem.Options{AnyUser: true})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		check(t, s.Close())
		check(t, f.Close())
	}
	s, err := shmem.CreateAnonymous(64, nil)
	check(t, err)
	f, err := s.File()
	check(t, err)
	other, err := shmem.FromFile(f, nil)
	check(t, err)
	check(t, errors.Join(f.Close(), other.Close(), s.Close()))
}

// The file of a read-only attachment cannot be written.
func TestFileOfReadOnly(t *testing.T) {
	dir := shmemtest.Dir(t)
	open[point](t, dir, "p")
	for _, readOnly := range []bool{false, true} {
		b, err := shmem.Attach[point]("p", &shmem.Options{Dir: dir, ReadOnly: readOnly})
		check(t, err)
		f, err := b.Segment().File()
		check(t, err)
		if _, err := f.WriteAt([]byte{0}, 0); (err != nil) != readOnly {
			t.Errorf("read-only %v: a write returns %v", readOnly, err)
		}
		if err := f.Truncate(64 << 10); readOnly && err == nil {
			t.Error("the file of a read-only attachment was truncated")
		}
		check(t, errors.Join(f.Close(), b.Close()))
		if !readOnly {
			b, err := shmem.Attach[point]("p", &shmem.Options{Dir: dir})
			wantErr(t, err, shmem.ErrForeign) // it was made longer
			_ = b
			check(t, os.Truncate(filepath.Join(dir, "p"), 28672))
		}
	}
}

// A file with a control block and no memory is damaged: to attach to it would take the memory.
func TestSparse(t *testing.T) {
	dir := shmemtest.Dir(t)
	path := filepath.Join(dir, "p")
	for _, size := range []int64{1 << 20, 1 << 28, 1 << 38} {
		if int64(math.MaxInt/2) < size {
			continue
		}
		h, err := format.Layout(uint64(size), 0, 4, false, 0, uint64(os.Getpagesize()))
		check(t, err)
		h.Lifetime = format.LifetimeKept
		f, err := os.Create(path)
		check(t, err)
		check(t, f.Truncate(int64(h.TotalSize)))
		var st syscall.Stat_t
		check(t, syscall.Fstat(int(f.Fd()), &st))
		h.Ino, h.Dev = st.Ino, st.Dev
		b := make([]byte, format.HeaderSize)
		h.Encode(b)
		binary.NativeEndian.PutUint64(b[format.OffOwner:], format.Owner{State: format.Kept}.Word())
		rec := h.NewRecord(nil, 0, uint64(size))
		rec.Encode(b[format.OffRecord:], nil)
		_, err = f.WriteAt(b, int64(h.HeaderOff()))
		check(t, err)
		check(t, f.Close())
		_, err = shmem.AttachSegment("p", &shmem.Options{Dir: dir})
		wantErr(t, err, shmem.ErrCorrupt, "have memory", "Remove")
		info, err := shmem.Stat(dir, "p")
		if err != nil || info.State != shmem.Damaged || info.InUse > 64<<10 {
			t.Errorf("%v, %d bytes in use (%v)", info.State, info.InUse, err)
		}
		check(t, shmem.Remove(dir, "p"))
		// A foreign file may be sparse. Nothing of it is touched.
		check(t, os.WriteFile(path, nil, 0o600))
		check(t, os.Truncate(path, size))
		s, err := shmem.AttachSegment("p", &shmem.Options{Dir: dir, Foreign: true})
		check(t, err)
		if info, err := shmem.Stat(dir, "p"); err != nil || info.InUse > 64<<10 {
			t.Errorf("a foreign file takes %d bytes (%v)", info.InUse, err)
		}
		last, err := shmem.ValueAt[[16]byte](s, size-16)
		check(t, err)
		last[15] = 7
		check(t, s.Close())
		check(t, os.Remove(path))
	}
}

// Members of a group share a segment.
func TestGroup(t *testing.T) {
	dir := shmemtest.Dir(t)
	gid := os.Getegid()
	if os.Geteuid() == 0 {
		gid = 4242
	}
	o := &shmem.Options{Dir: dir, Group: strconv.Itoa(gid)}
	stat := func(name string) (st syscall.Stat_t) {
		check(t, syscall.Lstat(filepath.Join(dir, name), &st))
		return st
	}
	b, err := shmem.Open[point]("p", o)
	check(t, err)
	if st := stat("p"); int(st.Gid) != gid || st.Mode&0o777 != 0o660 {
		t.Errorf("group %d, mode %#o", st.Gid, st.Mode)
	}
	q, err := shmem.Open[point]("q", &shmem.Options{Dir: dir, Group: strconv.Itoa(gid), Mode: 0o640})
	check(t, err)
	if st := stat("q"); int(st.Gid) != gid || st.Mode&0o777 != 0o640 {
		t.Errorf("group %d, mode %#o", st.Gid, st.Mode)
	}
	check(t, q.Close())
	again, err := shmem.Attach[point]("p", o)
	check(t, err)
	check(t, again.Close())
	_, err = shmem.Attach[point]("p", &shmem.Options{Dir: dir, Group: strconv.Itoa(gid + 1)})
	wantErr(t, err, shmem.ErrMismatch, "Group "+strconv.Itoa(gid), strconv.Itoa(gid+1))
	for group, word := range map[string]string{
		"no such group": "/etc/group", "-1": "/etc/group", "4294967295": "no such group", "99999999999": "/etc/group",
		"65534": "user namespace",
	} {
		_, err := shmem.Open[point]("r", &shmem.Options{Dir: dir, Group: group})
		wantErr(t, err, shmem.ErrBadOption, "Options.Group", word)
	}
	named, err := shmem.Open[point]("named", &shmem.Options{Dir: dir, Group: groupName(t, os.Getegid())})
	check(t, err)
	if st := stat("named"); int(st.Gid) != os.Getegid() {
		t.Errorf("group %d", st.Gid)
	}
	check(t, named.Close())
	anonymous, err := shmem.CreateAnonymous(64, o)
	check(t, err)
	f, err := anonymous.File()
	check(t, err)
	var st syscall.Stat_t
	if check(t, syscall.Fstat(int(f.Fd()), &st)); int(st.Gid) != gid {
		t.Errorf("an anonymous segment has group %d", st.Gid)
	}
	check(t, errors.Join(f.Close(), anonymous.Close()))
	if os.Geteuid() == 0 {
		// The segment of another user is accepted if it is the group's, and only then.
		check(t, os.Chown(filepath.Join(dir, "p"), 12345, gid))
		_, err = shmem.Attach[point]("p", &shmem.Options{Dir: dir})
		wantErr(t, err, shmem.ErrOtherUser)
		again, err = shmem.Attach[point]("p", o)
		check(t, err)
		check(t, again.Close())
		check(t, os.Chown(filepath.Join(dir, "p"), 12345, gid+1))
		_, err = shmem.Attach[point]("p", o)
		wantErr(t, err, shmem.ErrOtherUser)
	}
	check(t, b.Close())
}

// groupName returns a group's name in /etc/group, or its number.
func groupName(t *testing.T, gid int) string {
	b, err := os.ReadFile("/etc/group")
	check(t, err)
	for _, l := range strings.Split(string(b), "\n") {
		if f := strings.Split(l, ":"); len(f) > 2 && f[2] == strconv.Itoa(gid) {
			return f[0]
		}
	}
	return strconv.Itoa(gid)
}

// A directory on a disk is refused, unless it is asked for.
func TestDisk(t *testing.T) {
	dir := t.TempDir()
	if m, err := sys.MountOf(dir); err != nil || m.InMemory() {
		t.Logf("the directory of this test is not on a disk (%v)", err)
		return
	}
	o := &shmem.Options{Dir: dir}
	for _, avoid := range []bool{false, true} {
		sys.AvoidNameless = avoid
		_, err := shmem.Open[point]("p", o)
		wantErr(t, err, shmem.ErrBadOption, "open p", dir, "on a disk", "Options.Disk", "/dev/shm")
	}
	sys.AvoidNameless = false
	wantNames(t, dir)
	o.Disk = true
	b, err := shmem.Open[point]("p", o)
	check(t, err)
	_, err = shmem.Attach[point]("p", &shmem.Options{Dir: dir})
	wantErr(t, err, shmem.ErrBadOption, "Options.Disk")
	other, err := shmem.Attach[point]("p", o)
	check(t, errors.Join(err, other.Close(), b.Close()))
	check(t, os.WriteFile(filepath.Join(dir, "foreign"), make([]byte, 64), 0o600))
	s, err := shmem.AttachSegment("foreign", &shmem.Options{Dir: dir, Foreign: true})
	check(t, err)
	check(t, s.Close())
	a, err := shmem.CreateAnonymous(64, o)
	check(t, err)
	check(t, a.Close())
}

// Options.HugePages brings huge pages where the kernel has them, to the process that creates the
// segment and to one that attaches. What was got can be asked for.
func TestHugePages(t *testing.T) {
	dir := shmemtest.Dir(t)
	const size = 16 << 20
	o := &shmem.Options{Dir: dir, Undo: shmem.UndoNever, HugePages: true}
	s, err := shmem.CreateSegment("s", size, o)
	check(t, err)
	all, err := shmem.SliceAt[uint64](s, 0, size/8)
	check(t, err)
	for i := range all {
		all[i] = uint64(i)
	}
	got, err := s.HugePages()
	check(t, err)
	t.Logf("%d of %d bytes are in huge pages", got, size)
	if got < 0 || got > size {
		t.Errorf("%d bytes of %d", got, size)
	}
	other, err := shmem.AttachSegment("s", o)
	check(t, err)
	v, err := shmem.SliceAt[uint64](other, 0, size/8)
	check(t, err)
	for i := range v {
		if v[i] != uint64(i) {
			t.Fatalf("word %d is %d", i, v[i])
		}
	}
	if also, err := other.HugePages(); err != nil || got == size && also != size {
		t.Errorf("the other attachment has %d bytes in huge pages, the first %d (%v)", also, got, err)
	}
	plain, err := shmem.CreateSegment("plain", size, &shmem.Options{Dir: dir, Undo: shmem.UndoNever})
	check(t, err)
	if n, err := plain.HugePages(); err != nil {
		t.Errorf("without the option: %d, %v", n, err)
	}
	check(t, errors.Join(plain.Close(), other.Close(), s.Close()))
	_, err = s.HugePages()
	wantErr(t, err, shmem.ErrClosed)
}
