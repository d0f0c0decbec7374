package main

import (
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/sys"
)

// A proc is what /proc says of one. Its texts are those of a program that any user may have
// started.
type proc struct {
	pid       int
	inner     int    // its pid in its own PID namespace
	namespace uint64 // inode of that namespace
	name      string // of its program
	command   string // its command line, the beginning of it
	state     string // see processStates
	uid       int
	container string // the beginning of the id of its container, "" if it is in none
}

// processStates are the states of /proc/PID/stat. Those not listed are rare.
var processStates = map[byte]string{
	'R': "running", 'S': "sleeping", 'D': "disk sleep", 'I': "idle",
	'T': "stopped", 't': "traced", 'Z': "zombie", 'X': "dead",
}

// stopped reports whether the process goes on only when another one lets it.
func (p *proc) stopped() bool { return p != nil && (p.state == "stopped" || p.state == "traced") }

// ownNamespace is the inode of the PID namespace of this process.
var ownNamespace = sync.OnceValue(sys.PIDNamespace)

// procs caches what /proc says, during one look.
type procs struct {
	all   map[int]*proc    // by pid; nil for one that is gone
	inner map[innerPID]int // pids by those in other namespaces; nil until it is needed
}

type innerPID struct {
	namespace uint64
	pid       int
}

// get returns a process, nil if there is none.
func (ps *procs) get(pid int) *proc {
	if ps.all == nil {
		ps.all = map[int]*proc{}
	}
	p, ok := ps.all[pid]
	if !ok {
		p = readProcess(pid)
		ps.all[pid] = p
	}
	return p
}

// of returns the process of an attachment, nil if it is not to be seen from here.
func (ps *procs) of(pid int, namespace uint64) *proc {
	if pid == 0 {
		return nil
	}
	if namespace == ownNamespace() || namespace == 0 {
		return ps.get(pid)
	}
	if ps.inner == nil {
		ps.inner = map[innerPID]int{}
		for pid := range pids() {
			if p := ps.get(pid); p != nil && p.namespace != ownNamespace() {
				ps.inner[innerPID{p.namespace, p.inner}] = p.pid
			}
		}
	}
	if host := ps.inner[innerPID{namespace, pid}]; host != 0 {
		return ps.get(host)
	}
	return nil
}

// ofPeer is of for an attachment.
func (ps *procs) ofPeer(p shmem.Peer) *proc { return ps.of(p.PID, p.PIDNamespace) }

// pids ranges over the processes that there are.
func pids() func(func(int) bool) {
	return func(yield func(int) bool) {
		d, err := os.Open("/proc")
		if err != nil {
			return
		}
		defer d.Close()
		names, _ := d.Readdirnames(-1)
		for _, n := range names {
			if pid, err := strconv.Atoi(n); err == nil && !yield(pid) {
				return
			}
		}
	}
}

// procFile reads a file of a process, at most so many bytes of it.
func procFile(pid int, name string, most int64) string {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), name))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, most))
	return string(b)
}

var containerID = regexp.MustCompile(`[0-9a-f]{64}`)

// readProcess returns nil if there is no such process.
func readProcess(pid int) *proc {
	const small = 4096
	stat := procFile(pid, "stat", small)
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return nil
	}
	p := &proc{pid: pid, inner: pid, name: stat[open+1 : end], uid: -1}
	if rest := strings.TrimSpace(stat[end+1:]); rest != "" {
		if p.state = processStates[rest[0]]; p.state == "" {
			p.state = rest[:1]
		}
	}
	for l := range strings.Lines(procFile(pid, "status", small)) {
		key, value, _ := strings.Cut(l, ":")
		f := strings.Fields(value)
		switch {
		case len(f) == 0:
		case key == "Uid":
			p.uid, _ = strconv.Atoi(f[0])
		case key == "NSpid":
			p.inner, _ = strconv.Atoi(f[len(f)-1])
		}
	}
	cmd := strings.TrimRight(procFile(pid, "cmdline", small), "\x00")
	p.command = strings.ReplaceAll(cmd, "\x00", " ")
	if ns, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns/pid")); err == nil {
		_, _ = fmt.Sscanf(ns, "pid:[%d]", &p.namespace)
	}
	if id := containerID.FindString(procFile(pid, "cgroup", small)); id != "" {
		p.container = id[:12]
	}
	return p
}

// text names a process for people: program, pid, state where it is stopped, container.
func (p *proc) text() string {
	text := p.name + " " + strconv.Itoa(p.pid)
	if p.stopped() || p.state == "zombie" {
		text += " (" + p.state + ")"
	}
	if p.container != "" {
		text += fmt.Sprintf(", container %s (pid %d there)", p.container, p.inner)
	}
	return clean(text)
}

// A fileKey identifies a file.
type fileKey struct{ dev, ino uint64 }

// A user is a process that uses a file.
type user struct {
	pid    int
	mapped bool // else it has it open
}

// fileUsers returns which processes map files of a directory, or have them open: those that this
// user may look into.
func fileUsers(dir string) map[fileKey][]user {
	dir, dev, ok := deviceOf(dir)
	if !ok {
		return nil
	}
	all := map[fileKey][]user{}
	for pid := range pids() {
		seen := map[uint64]bool{}
		for _, ino := range mappedInodes(pid, dev) {
			if !seen[ino] {
				seen[ino] = true
				k := fileKey{dev, ino}
				all[k] = append(all[k], user{pid, true})
			}
		}
		for _, ino := range openInodes(pid, dev, dir) {
			if !seen[ino] {
				seen[ino] = true
				k := fileKey{dev, ino}
				all[k] = append(all[k], user{pid, false})
			}
		}
	}
	return all
}

// deviceOf returns the path of a directory as the kernel tells it of files there, and its device.
func deviceOf(dir string) (path string, dev uint64, ok bool) {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	st, err := os.Stat(dir)
	if err != nil {
		return "", 0, false
	}
	dev, _, ok = fileIDOf(st)
	if there, isThere := isPlace(dir); isThere {
		return there, dev, ok
	}
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	return dir, dev, ok
}

// A lostFile is a file that has lost its name.
type lostFile struct {
	name string // its last one
	via  string // leads to it, as long as the process lives that it names
	user user
}

// lostOf returns the files of a directory without a name that a process maps or has open.
func lostOf(pid int, dev uint64, dir string) (all map[uint64]lostFile) {
	all = map[uint64]lostFile{}
	const gone = " (deleted)"
	base := filepath.Join("/proc", strconv.Itoa(pid))
	for m := range mappings(pid, dev) {
		if name, ok := strings.CutSuffix(m.path, gone); ok && filepath.Dir(name) == dir {
			f := all[m.ino]
			f.name, f.user = filepath.Base(name), user{pid, true}
			f.via = filepath.Join(base, "map_files", m.addresses)
			all[m.ino] = f
		}
	}
	d, err := os.Open(filepath.Join(base, "fd"))
	if err != nil {
		return all
	}
	defer d.Close()
	fds, _ := d.Readdirnames(-1)
	for _, fd := range fds {
		path := filepath.Join(base, "fd", fd)
		to, _ := os.Readlink(path)
		name, ok := strings.CutSuffix(to, gone)
		if !ok || filepath.Dir(name) != dir {
			continue
		}
		st, err := os.Stat(path)
		if err != nil {
			continue
		}
		if d, ino, ok := fileIDOf(st); ok && d == dev {
			f := all[ino]
			f.name, f.via, f.user.pid = filepath.Base(name), path, pid
			all[ino] = f
		}
	}
	return all
}

// A mapping is a line of /proc/PID/maps.
type mapping struct {
	addresses, path string
	ino             uint64
}

// mappings returns the mappings of files of a device.
func mappings(pid int, dev uint64) iter.Seq[mapping] {
	const most = 64 << 20 // 65,530 mappings with long names are less
	major, minor := dev>>8&0xfff|dev>>32&^0xfff, dev&0xff|dev>>12&^0xff
	want := fmt.Sprintf("%02x:%02x", major, minor)
	return func(yield func(mapping) bool) {
		for l := range strings.Lines(procFile(pid, "maps", most)) {
			f := strings.Fields(l)
			if len(f) < 5 || f[3] != want {
				continue
			}
			m := mapping{addresses: f[0]}
			m.ino, _ = strconv.ParseUint(f[4], 10, 64)
			if i := strings.IndexByte(l, '/'); i >= 0 {
				m.path = strings.TrimSuffix(l[i:], "\n")
			}
			if !yield(m) {
				return
			}
		}
	}
}

// mappedInodes returns the files of a device that a process maps.
func mappedInodes(pid int, dev uint64) (all []uint64) {
	for m := range mappings(pid, dev) {
		all = append(all, m.ino)
	}
	return all
}

// openInodes returns the files of a directory that a process has open.
func openInodes(pid int, dev uint64, dir string) (all []uint64) {
	fds := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	d, err := os.Open(fds)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		path := filepath.Join(fds, n)
		to, err := os.Readlink(path)
		inside := strings.HasPrefix(to, dir+"/") || strings.HasPrefix(to, sys.DefaultDir+"/")
		if err != nil || !inside {
			continue // a look at other files, on a network for example, may take for ever
		}
		if st, err := os.Stat(path); err == nil {
			if d, ino, ok := fileIDOf(st); ok && d == dev {
				all = append(all, ino)
			}
		}
	}
	return all
}

// userText names the processes of a list, the first ones.
func (ps *procs) userText(users []user) string {
	const most = 3
	var parts []string
	for i, u := range users {
		if i == most {
			parts = append(parts, fmt.Sprintf("%d more", len(users)-most))
			break
		}
		what := "has it open"
		if u.mapped {
			what = "maps it"
		}
		name := "pid " + strconv.Itoa(u.pid)
		if p := ps.get(u.pid); p != nil {
			name = p.text()
		}
		parts = append(parts, name+" "+what)
	}
	return strings.Join(parts, ", ")
}

// shellQuote quotes a word for a shell where that is needed.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"+
		"._-/=:@%+,") == "" && s[0] != '-' {
		return s
	}
	if isPlain(s, "") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder // in the quotes of bash that know escapes
	b.WriteString("$'")
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '\'' || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String() + "'"
}

// command is a command line of this command for a segment, as it can be typed.
func (e *env) command(args string, names ...string) string {
	line := "shmem "
	if e.dir != sys.DefaultDir && os.Getenv("SHMEM_DIR") != e.dir {
		line += "--dir " + shellQuote(e.dir) + " "
	}
	line += args
	for _, n := range names {
		if strings.HasPrefix(n, "-") {
			line += " --"
		}
		line += " " + shellQuote(n)
	}
	return line
}
