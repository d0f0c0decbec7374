package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/sys"
)

type doctorCmd struct {
	JSON bool `name:"json" help:"JSON."`
}

func (*doctorCmd) Help() string {
	return `Looks at what shared memory needs of a machine. A line that is not ok says what to do. The exit
code is 1 if there is a problem; warnings do not count. It makes and removes one small segment.`
}

type finding struct {
	Check  string `json:"check"`
	Level  string `json:"level"` // ok, warn, problem
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

type doctor struct {
	e   *env
	all []finding
}

func (d *doctor) add(check, level, text, advice string) {
	d.all = append(d.all, finding{check, level, text, advice})
}
func (d *doctor) ok(check, format string, a ...any) {
	d.add(check, "ok", fmt.Sprintf(format, a...), "")
}

func (c *doctorCmd) Run(e *env) error {
	d := &doctor{e: e}
	if d.directory() {
		d.works()
	}
	d.system()
	bad := false
	for _, f := range d.all {
		bad = bad || f.Level == "problem"
	}
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
		case "warn":
			mark = s.magenta("warn ")
		case "problem":
			mark = s.red("BAD  ")
		}
		for i, l := range fold(f.Text, max(d.e.width-19, 40)) {
			if i == 0 {
				fmt.Fprintf(d.e.out, "%s %s%s\n", mark, s.bold(pad(f.Check, 13)), l)
			} else {
				fmt.Fprintf(d.e.out, "%19s%s\n", "", l)
			}
		}
		if f.Advice != "" {
			for i, l := range fold(f.Advice, max(d.e.width-22, 40)) {
				arrow := "→ "
				if i > 0 {
					arrow = "  "
				}
				fmt.Fprintf(d.e.out, "%19s%s\n", "", s.cyan(arrow+l))
			}
		}
	}
}

func (d *doctor) directory() bool {
	dir := d.e.dir
	st, err := os.Stat(dir)
	if err != nil || !st.IsDir() {
		d.add("directory", "problem", dir+" is no directory", "mount a tmpfs there: mount -t tmpfs -o mode=1777 tmpfs "+dir)
		return false
	}
	m, err := sys.MountOf(dir)
	if err != nil {
		d.add("file system", "problem", err.Error(), "")
		return true
	}
	if m.Type == sys.TmpfsMagic {
		d.ok("directory", "%s is a tmpfs, mode %s", dir, lsMode(st.Mode()))
	} else {
		d.add("directory", "problem", fmt.Sprintf("%s is no tmpfs (type %#x): values would be written to a disk", dir, m.Type), "use /dev/shm, or mount a tmpfs there")
	}
	switch {
	case m.Size == 0:
		d.ok("room", "no limit of its own")
	case m.Avail*10 < m.Size:
		d.add("room", "warn", fmt.Sprintf("%s free of %s", words(m.Avail), words(m.Size)), "shmem gc takes garbage away, shmem ls --sort size shows what is large; mount -o remount,size=... makes it larger")
	case m.Size <= 64<<20:
		d.add("room", "warn", fmt.Sprintf("%s free of %s, the default of containers", words(m.Avail), words(m.Size)), "docker run --shm-size=1g; Kubernetes: an emptyDir with medium Memory on /dev/shm")
	default:
		d.ok("room", "%s free of %s", words(m.Avail), words(m.Size))
	}
	if m.Size > 0 && m.Inodes > 0 && m.Inodes < 1000 {
		d.add("inodes", "warn", fmt.Sprintf("%d free: each segment needs one", m.Inodes), "mount -o remount,nr_inodes=...")
	}
	switch {
	case !canCreate(dir):
		d.add("permissions", "problem", "this user cannot create segments in "+dir, "chmod 1777 "+dir+", or use another --dir")
	case st.Mode().Perm()&0o002 != 0 && st.Mode()&fs.ModeSticky == 0:
		d.add("permissions", "warn", "everybody may remove everybody's segments", "chmod +t "+dir)
	default:
		d.ok("permissions", "this user can create segments")
	}
	d.hugePages(dir)
	return true
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

func canCreate(dir string) bool {
	f, err := os.CreateTemp(dir, ".shmem-doctor-")
	if err != nil {
		return false
	}
	_ = f.Close()
	return os.Remove(f.Name()) == nil
}

func (d *doctor) hugePages(dir string) {
	mode := readLine("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
	on := ""
	for _, l := range lines("/proc/self/mountinfo") {
		f := strings.Fields(l)
		if len(f) > 5 && f[4] == dir && strings.Contains(l, "huge=") {
			_, on, _ = strings.Cut(l, "huge=")
			on, _, _ = strings.Cut(on, ",")
			on, _, _ = strings.Cut(on, " ")
		}
	}
	if i := strings.IndexByte(mode, '['); i >= 0 {
		mode, _, _ = strings.Cut(mode[i+1:], "]")
	}
	switch {
	case on != "" && on != "never":
		d.ok("huge pages", "huge=%s on %s", on, dir)
	case mode == "":
		d.ok("huge pages", "this kernel has none for shared memory")
	default:
		d.ok("huge pages", "off (mount without huge=, shmem_enabled %s); they help values of many MiB: mount -o remount,huge=advise %s and Options.HugePages", mode, dir)
	}
}

// works tries it.
func (d *doctor) works() {
	name := "shmem-doctor-" + strconv.Itoa(os.Getpid())
	s, err := shmem.CreateSegment(name, 4096, d.e.opts())
	if err != nil {
		d.add("segments", "problem", reason(err), "")
		return
	}
	info, err := shmem.Stat(d.e.dir, name)
	_ = s.Close()
	switch {
	case err != nil:
		d.add("segments", "problem", reason(err), "")
	case info.State != shmem.Live || len(info.Peers) != 1:
		d.add("locks", "problem", "the kernel does not show who is attached: OFD locks (Linux 3.15) do not work here", "use a kernel or sandbox that has F_OFD_SETLK on tmpfs")
	default:
		d.ok("segments", "one was made, attached and removed; OFD locks work")
	}
	f, err := sys.CreateNameless(d.e.dir, 0o600)
	if err != nil {
		d.add("O_TMPFILE", "warn", "not here ("+err.Error()+"): segments are made under a temporary name first", "nothing; gVisor and old kernels are so")
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
		d.add("memfd", "warn", "anonymous segments do not work: "+err.Error(), "")
	} else {
		d.ok("memfd", "anonymous, sealed segments work")
	}
}

func (d *doctor) system() {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		d.add("/proc", "problem", "it is not mounted: nameless files get no name, and FromFile cannot work", "mount -t proc proc /proc")
	} else if _, err := os.Stat("/proc/1"); err != nil {
		d.add("/proc", "warn", "other users' processes are hidden (hidepid)", "run as root to see who is attached")
	} else {
		d.ok("/proc", "mounted")
	}
	if ns := sys.PIDNamespace(); ns != 0 {
		if init, err := os.Readlink("/proc/1/ns/pid"); err == nil && ns != 4026531836 {
			d.ok("namespaces", "PID namespace %d of its own (init's: %s): pids of others mean nothing here; who lives is told by locks", ns, init)
		} else {
			d.ok("namespaces", "PID namespace %d", ns)
		}
	}
	if ipc, err := os.Readlink("/proc/self/ns/ipc"); err == nil {
		d.ok("sharing", "%s is shared by whoever has the same mount, not by IPC namespace (%s)", d.e.dir, ipc)
	}
	d.removeIPC()
	switch v := readLine("/proc/sys/fs/protected_regular"); v {
	case "", "0":
		d.ok("protected", "fs.protected_regular=0")
	default:
		d.ok("protected", "fs.protected_regular=%s: O_CREAT on another user's file is refused; we never do that, shm_open in C may", v)
	}
	d.memoryLimit()
	if n, ok := openFiles(); ok && n < 4096 {
		d.add("open files", "warn", fmt.Sprintf("at most %d: each attachment holds one", n), "ulimit -n 65536; systemd: LimitNOFILE=65536")
	} else if ok {
		d.ok("open files", "at most %d; each attachment holds one", n)
	}
	if n, err := strconv.Atoi(readLine("/proc/sys/vm/max_map_count")); err == nil {
		d.ok("mappings", "vm.max_map_count=%d; each box needs two", n)
	}
	d.ok("kernel", "%s, %s/%s, %d CPUs, pages of %d", readLine("/proc/sys/kernel/osrelease"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), os.Getpagesize())
}

// removeIPC: logind deletes what a user has in /dev/shm when the last session ends.
func (d *doctor) removeIPC() {
	if _, err := os.Stat("/run/systemd/seats"); err != nil {
		d.ok("logind", "does not run here")
		return
	}
	on := true // the default
	files := []string{"/usr/lib/systemd/logind.conf", "/etc/systemd/logind.conf"}
	for _, dir := range []string{"/usr/lib/systemd/logind.conf.d", "/etc/systemd/logind.conf.d", "/run/systemd/logind.conf.d"} {
		more, _ := filepath.Glob(dir + "/*.conf")
		files = append(files, more...)
	}
	for _, f := range files {
		for _, l := range lines(f) {
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
		d.add("logind", "warn", "RemoveIPC=yes: at the end of this user's last session all files of the user in /dev/shm are deleted, in use or not",
			"RemoveIPC=no in /etc/systemd/logind.conf, or run as a system user, or loginctl enable-linger")
	}
}

// memoryLimit: tmpfs pages count for the cgroup; an OOM kill comes before ENOSPC.
func (d *doctor) memoryLimit() {
	group := ""
	for _, l := range lines("/proc/self/cgroup") {
		if g, ok := strings.CutPrefix(l, "0::"); ok {
			group = g
		}
	}
	least := int64(-1)
	for g := group; ; g = filepath.Dir(g) {
		if n, err := strconv.ParseInt(readLine(filepath.Join("/sys/fs/cgroup", g, "memory.max")), 10, 64); err == nil && (least < 0 || n < least) {
			least = n
		}
		if g == "/" || g == "." || g == "" {
			break
		}
	}
	if n, err := strconv.ParseInt(readLine("/sys/fs/cgroup/memory/memory.limit_in_bytes"), 10, 64); err == nil && n < 1<<60 && (least < 0 || n < least) {
		least = n
	}
	m, err := sys.MountOf(d.e.dir)
	switch {
	case least < 0:
		d.ok("cgroup", "no memory limit")
	case err == nil && m.Size > least:
		d.add("cgroup", "warn", fmt.Sprintf("limit %s, less than the %s of %s: who fills it is killed (OOM) instead of getting ErrNoSpace", words(least), words(m.Size), d.e.dir),
			fmt.Sprintf("mount -o remount,size=%dm %s, or raise the limit: shared memory counts", least>>21, d.e.dir))
	default:
		d.ok("cgroup", "limit %s", words(least))
	}
}

func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func lines(path string) (all []string) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || err != nil {
		return nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		all = append(all, s.Text())
	}
	return all
}
