package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/sys"
)

// doctorCmd checks what the library needs of the machine.
type doctorCmd struct {
	JSON bool `name:"json" help:"JSON."`
}

func (*doctorCmd) Help() string {
	return `Checks what shared memory needs of a machine. A line that is not ok says what to do.
The exit code is 1 if there is a problem; warnings do not count. It makes and removes one small
segment.`
}

// A finding is the result of one check. Its JSON is for scripts: keys are neither renamed nor
// removed.
type finding struct {
	Check  string `json:"check"`
	Level  string `json:"level"` // levelOK, levelWarn, levelProblem
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"` // what to do
}

const (
	levelOK      = "ok"
	levelWarn    = "warn"    // it works, but may fail under load or for other users
	levelProblem = "problem" // it does not work
)

// A doctor collects findings.
type doctor struct {
	e   *env
	all []finding
}

func (d *doctor) add(check, level, text, advice string) {
	d.all = append(d.all, finding{check, level, text, advice})
}

func (d *doctor) ok(check, format string, a ...any) {
	d.add(check, levelOK, fmt.Sprintf(format, a...), "")
}

func (d *doctor) warn(check, text, advice string)    { d.add(check, levelWarn, text, advice) }
func (d *doctor) problem(check, text, advice string) { d.add(check, levelProblem, text, advice) }

func (c *doctorCmd) Run(e *env) error {
	d := &doctor{e: e}
	if d.directory() {
		d.tryOut()
	}
	d.system()
	bad := slices.ContainsFunc(d.all, func(f finding) bool { return f.Level == levelProblem })
	if c.JSON {
		if err := e.json(d.all); err != nil {
			return err
		}
	} else {
		d.show()
	}
	if bad {
		return exitError(exitFailed)
	}
	return nil
}

func (d *doctor) show() {
	s := d.e.style
	for _, f := range d.all {
		mark := s.green("ok   ")
		switch f.Level {
		case levelWarn:
			mark = s.magenta("warn ")
		case levelProblem:
			mark = s.red("BAD  ")
		}
		const column = 19 // where the text begins
		head := mark + " " + s.bold(pad(f.Check, column-6))
		for _, l := range fold(f.Text, max(d.e.width-column, 20)) {
			fmt.Fprintf(d.e.out, "%s%s\n", head, l)
			head = strings.Repeat(" ", column)
		}
		if f.Advice == "" {
			continue
		}
		arrow := "→ "
		for _, l := range fold(f.Advice, max(d.e.width-column-3, 20)) {
			fmt.Fprintf(d.e.out, "%*s%s\n", column, "", s.cyan(arrow+l))
			arrow = "  "
		}
	}
}

// directory checks the directory of segments. It returns false if there is none.
func (d *doctor) directory() bool {
	dir := d.e.dir
	st, err := os.Stat(dir)
	if err != nil || !st.IsDir() {
		remedy := "mount a tmpfs there: mount -t tmpfs -o mode=1777 tmpfs " + dir
		if sys.DiskOnly {
			remedy = "make a directory of this user there"
		}
		d.problem("directory", dir+" is no directory", remedy)
		return false
	}
	m, err := sys.MountOf(dir)
	if err != nil {
		d.problem("file system", err.Error(), "")
		return true
	}
	switch {
	case sys.DiskOnly:
		d.ok("directory", "%s, mode %s: on a disk, for this system has no tmpfs", dir,
			lsMode(st.Mode()))
	case m.InMemory():
		d.ok("directory", "%s is a tmpfs, mode %s", dir, lsMode(st.Mode()))
	default:
		d.problem("directory", fmt.Sprintf(
			"%s is no tmpfs (type %#x): values would be written to a disk, so Open refuses it "+
				"without Options.Disk", dir, m.Type),
			"use /dev/shm, or mount a tmpfs there")
	}
	d.room(m)
	switch err := tryCreate(dir); {
	case m.ReadOnly, errors.Is(err, sys.ErrROFS):
		d.problem("permissions", dir+" is mounted read-only: segments can be read at most",
			"mount -o remount,rw "+dir+", or use another --dir")
	case errors.Is(err, sys.ErrNoSpace), errors.Is(err, sys.ErrQuota):
		d.problem("permissions", "no file can be created in "+dir+": "+reason(err),
			"see the lines above; shmem gc removes garbage")
	case err != nil:
		d.problem("permissions", "this user cannot create segments in "+dir+": "+reason(err),
			"chmod 1777 "+dir+", or use another --dir")
	case st.Mode().Perm()&0o002 != 0 && st.Mode()&fs.ModeSticky == 0:
		d.warn("permissions", "every user may remove segments of every other", "chmod +t "+dir)
	default:
		d.ok("permissions", "this user can create segments")
	}
	return true
}

// room checks how much memory and how many files there is room for.
func (d *doctor) room(m sys.Mount) {
	switch {
	case m.Size == 0:
		d.ok("room", "no limit of its own")
	case m.Avail*10 < m.Size:
		d.warn("room", fmt.Sprintf("%s free of %s", bytesText(m.Avail), bytesText(m.Size)),
			"shmem gc removes garbage, shmem ls --sort size shows what is large; mount -o "+
				"remount,size=... makes it larger")
	case m.Size <= 64<<20:
		d.warn("room", fmt.Sprintf("%s free of %s, the default of containers", bytesText(m.Avail),
			bytesText(m.Size)),
			"docker run --shm-size=1g; Kubernetes: an emptyDir with medium Memory on /dev/shm")
	default:
		d.ok("room", "%s free of %s", bytesText(m.Avail), bytesText(m.Size))
	}
	const inodes = "shmem gc removes garbage; mount -o remount,nr_inodes=... allows more"
	switch {
	case m.Files > 0 && m.Inodes == 0:
		d.problem("inodes", fmt.Sprintf("none of %d is free: each segment needs one", m.Files),
			inodes)
	case m.Files > 0 && m.Inodes < 1000:
		d.warn("inodes", fmt.Sprintf("%d free: each segment needs one", m.Inodes), inodes)
	}
}

// lsMode is the mode of a directory as ls shows it, with the sticky bit.
func lsMode(m fs.FileMode) string {
	s := "d" + m.Perm().String()[1:]
	switch {
	case m&fs.ModeSticky == 0:
	case m&1 != 0:
		s = s[:9] + "t"
	default:
		s = s[:9] + "T"
	}
	return s
}

// tryCreate returns the error of creating a file in dir, by doing it.
func tryCreate(dir string) error {
	f, err := os.CreateTemp(dir, ".shmem-doctor-")
	if err != nil {
		return err
	}
	_ = f.Close()
	return os.Remove(f.Name())
}

// hugePages makes a segment with huge pages and looks what it got.
func (d *doctor) hugePages() {
	const size = 8 << 20
	o := d.e.opts()
	o.HugePages, o.Undo = true, shmem.UndoNever
	s, err := shmem.CreateSegment("shmem-doctor-huge-"+strconv.Itoa(os.Getpid()), size, o)
	if err != nil {
		d.warn("huge pages", "a segment of 8 MiB cannot be had: "+reason(err), "")
		return
	}
	got, err := s.HugePages()
	_ = s.Close()
	switch {
	case err != nil:
		d.ok("huge pages", "unknown: %s", reason(err))
	case got == 0:
		d.ok("huge pages", "Options.HugePages brings none here: it needs Linux 6.1 with "+
			"transparent huge pages, and shmem_enabled other than deny")
	default:
		d.ok("huge pages", "Options.HugePages brings them: %s of a segment of %s", bytesText(got),
			bytesText(size))
	}
}

// tryOut makes a segment in each way and looks at it.
func (d *doctor) tryOut() {
	name := "shmem-doctor-" + strconv.Itoa(os.Getpid())
	s, err := shmem.CreateSegment(name, 4096, d.e.opts())
	if errors.Is(err, errors.ErrUnsupported) {
		d.problem("locks", reason(err), "use a kernel or sandbox that has F_OFD_SETLK on tmpfs")
		return
	}
	if err != nil {
		d.problem("segments", reason(err), "")
		return
	}
	info, err := shmem.Stat(d.e.dir, name)
	_ = s.Close()
	switch {
	case err != nil:
		d.problem("segments", reason(err), "")
	case info.State != shmem.Live || len(info.Peers) != 1:
		d.problem("locks", "the kernel does not show which processes are attached: OFD locks "+
			"(Linux 3.15) do not work here",
			"use a kernel or sandbox that has F_OFD_SETLK on tmpfs")
	default:
		d.ok("segments", "one was made, attached and removed; OFD locks work")
		d.hugePages()
	}
	f, err := sys.CreateNameless(d.e.dir, 0o600)
	if err != nil {
		d.warn("O_TMPFILE", "not here ("+err.Error()+
			"): segments are made under a temporary name first",
			"nothing; gVisor and old kernels are so")
	} else {
		_ = f.Close()
		d.ok("O_TMPFILE", "nameless files work")
	}
	a, err := sys.CreateAnonymous("shmem-doctor")
	if err == nil {
		err = a.Seal()
		_ = a.Close()
	}
	if err != nil {
		d.warn("memfd", "anonymous segments do not work: "+err.Error(), "")
	} else {
		d.ok("memfd", "anonymous, sealed segments work")
	}
}

// system checks what does not depend on the directory.
func (d *doctor) system() {
	for _, text := range sys.Weaker {
		d.ok("weaker", "%s", text)
	}
	d.proc()
	d.namespaces()
	d.removeIPC()
	switch v := readLine("/proc/sys/fs/protected_regular"); v {
	case "", "0":
		d.ok("protected", "fs.protected_regular=0")
	default:
		d.ok("protected", "fs.protected_regular=%s: O_CREAT on another user's file is refused; "+
			"this library never does that, shm_open in C may", v)
	}
	d.memoryLimit()
	if n, ok := openFiles(); ok && n < 4096 {
		d.warn("open files", fmt.Sprintf("at most %d: each attachment holds one", n),
			"ulimit -n 65536; systemd: LimitNOFILE=65536")
	} else if ok {
		d.ok("open files", "at most %d; each attachment holds one", n)
	}
	if n, err := strconv.Atoi(readLine("/proc/sys/vm/max_map_count")); err == nil {
		d.ok("mappings", "vm.max_map_count=%d; each box needs two", n)
	}
	d.ok("kernel", "%s, %s/%s, %d CPUs, pages of %d", readLine("/proc/sys/kernel/osrelease"),
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), os.Getpagesize())
}

func (d *doctor) proc() {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		d.problem("/proc",
			"it is not mounted: FromFile cannot work, File of an anonymous segment neither, and "+
				"memory limits are not seen",
			"mount -t proc proc /proc")
	} else if _, err := os.Stat("/proc/1"); err != nil {
		d.warn("/proc", "other users' processes are hidden (hidepid)",
			"run as root to see which processes are attached")
	} else {
		d.ok("/proc", "mounted")
	}
}

// wholeMap reports whether a uid_map maps all users, as outside of user namespaces.
func wholeMap(text string) bool {
	f := strings.Fields(text)
	return len(f) == 3 && f[2] == "4294967295"
}

// initPIDNamespace is the inode of the PID namespace that the kernel begins with.
const initPIDNamespace = 4026531836

// namespaces shows what containers isolate. Neither is a problem: processes share segments by
// sharing the mount, and find out by locks which of them are alive.
func (d *doctor) namespaces() {
	if ns := ownNamespace(); ns != 0 {
		if init, err := os.Readlink("/proc/1/ns/pid"); err == nil && ns != initPIDNamespace {
			d.ok("namespaces", "PID namespace %d of its own (init's: %s): pids of other "+
				"namespaces mean nothing here; locks tell which processes live", ns, init)
		} else {
			d.ok("namespaces", "PID namespace %d", ns)
		}
	}
	if b, err := os.ReadFile("/proc/self/uid_map"); err == nil && !wholeMap(string(b)) {
		d.ok("users", "a user namespace that does not map all users: the others look like uid %d, "+
			"and are never taken for this user (%d)", sys.OverflowUID(), os.Geteuid())
	}
	if ipc, err := os.Readlink("/proc/self/ns/ipc"); err == nil {
		d.ok("sharing",
			"%s is shared by all processes with the same mount, not by IPC namespace (%s)", d.e.dir,
			ipc)
	}
}

// removeIPC checks whether logind deletes what a user has in /dev/shm when the user's last session
// ends. Later configuration files override earlier ones.
func (d *doctor) removeIPC() {
	if _, err := os.Stat("/run/systemd/seats"); err != nil {
		d.ok("logind", "does not run here")
		return
	}
	on := true // logind's default
	files := []string{"/usr/lib/systemd/logind.conf", "/etc/systemd/logind.conf"}
	for _, dir := range []string{"/usr/lib/systemd/logind.conf.d", "/etc/systemd/logind.conf.d",
		"/run/systemd/logind.conf.d"} {
		more, _ := filepath.Glob(dir + "/*.conf")
		files = append(files, more...)
	}
	for _, f := range files {
		for _, l := range fileLines(f) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(l), "RemoveIPC="); ok {
				on = v == "yes" || v == "true" || v == "1" || v == "on"
			}
		}
	}
	switch {
	case !on:
		d.ok("logind", "RemoveIPC=no")
	case os.Geteuid() < 1000:
		d.ok("logind", "RemoveIPC=yes, which spares system users such as this one")
	default:
		d.warn("logind", "RemoveIPC=yes: at the end of this user's last session all files of the "+
			"user in /dev/shm are deleted, in use or not",
			"RemoveIPC=no in /etc/systemd/logind.conf, or run as a system user, or loginctl "+
				"enable-linger")
	}
}

// memoryLimit shows how much memory there is for new segments: of the machine, of this process's
// cgroup and of those above it. Pages of a tmpfs count for the cgroup of the process that touches
// them first.
func (d *doctor) memoryLimit() {
	room, ok := sys.Room()
	m, err := sys.MountOf(d.e.dir)
	text := fmt.Sprintf("%s of %s free, by the limit of %s", bytesText(room.Free),
		bytesText(room.Limit), room.Group)
	switch {
	case !ok:
		d.warn("cgroup", "/proc does not say how much there is: a segment that is too large can "+
			"end a process", "")
	case room.Group == "":
		d.ok("cgroup", "%s of %s free; no cgroup limits it more", bytesText(room.Free),
			bytesText(room.Limit))
	case err == nil && m.Size > room.Limit:
		d.warn("cgroup", text+fmt.Sprintf(", which is less than the %s of %s: the library returns "+
			"ErrNoSpace, a program that fills the directory otherwise is killed (OOM)",
			bytesText(m.Size), d.e.dir),
			// half of it
			fmt.Sprintf("raise the limit (docker run --memory; Kubernetes: "+
				"resources.limits.memory; systemd: MemoryMax=), or "+
				"mount -o remount,size=%dm %s", room.Limit>>21, d.e.dir))
	default:
		d.ok("cgroup", "%s", text)
	}
}

// readLine is the text of a small file, "" if there is none.
func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// fileLines are the lines of a file, none if it cannot be read.
func fileLines(path string) (all []string) {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		all = append(all, s.Text())
	}
	return all
}
