package sys

import (
	"iter"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
)

// A machine is where the files of the kernel are found, and whose cgroups are meant. Tests have
// others than the real one.
type machine struct {
	root    string // "": that of the file system
	process string // a directory of /proc
}

func thisMachine(process string) machine { return machine{"", process} }

// A cgroupMount is where a hierarchy of cgroups is mounted.
type cgroupMount struct {
	at, root    string // mount point, and the group that is mounted there
	v2          bool
	controllers string // of version 1: a list with commas
}

// cgroupMounts are those of the real machine. They seldom change.
var cgroupMounts = sync.OnceValue(thisMachine("self").cgroupMounts)

// cgroupMounts finds the hierarchies of cgroups in the mount table.
func (m machine) cgroupMounts() (all []cgroupMount) {
	for _, l := range m.lines("/proc/self/mountinfo") {
		mount, kind, ok := strings.Cut(l, " - ")
		f, k := strings.Fields(mount), strings.Fields(kind)
		if !ok || len(f) < 5 || len(k) < 3 {
			continue
		}
		if k[0] == "cgroup2" || k[0] == "cgroup" {
			all = append(all, cgroupMount{unescape(f[4]), unescape(f[3]), k[0] == "cgroup2", k[2]})
		}
	}
	return all
}

// A cgroup is a group that a process is in.
type cgroup struct {
	name string
	dir  string // below the root of the machine
	v2   bool
}

// cgroups yields the groups of the process that can have the controller: its own, those above it.
func (m machine) cgroups(mounts []cgroupMount, controller string) iter.Seq[cgroup] {
	return func(yield func(cgroup) bool) {
		for _, mount := range mounts {
			if !mount.v2 && !hasWord(mount.controllers, controller) {
				continue
			}
			group, has := m.group(mount.v2, controller)
			if !has {
				continue
			}
			for g := mount.below(group); ; g = path.Dir(g) {
				if !yield(cgroup{path.Join(mount.root, g), path.Join(mount.at, g), mount.v2}) {
					return
				}
				if g == "/" {
					break
				}
			}
		}
	}
}

// group returns the cgroup of the process.
func (m machine) group(v2 bool, controller string) (string, bool) {
	for _, l := range m.lines("/proc/" + m.process + "/cgroup") {
		f := strings.SplitN(l, ":", 3) // number, controllers, group
		if len(f) == 3 && (v2 && f[0] == "0" && f[1] == "" || !v2 && hasWord(f[1], controller)) {
			return f[2], true
		}
	}
	return "", false
}

// below returns the path of a group under the mount point. A group that is not below what is
// mounted, as in some containers, is taken to be what is mounted.
func (m cgroupMount) below(group string) string {
	rest, ok := group, true
	if m.root != "/" {
		rest, ok = strings.CutPrefix(group, m.root)
	}
	if !ok || strings.HasPrefix(group, "/..") || rest != "" && rest[0] != '/' {
		return "/"
	}
	return path.Join("/", rest)
}

// number returns the number in a small file, -1 if there is none.
func (m machine) number(name string) int64 {
	n, err := strconv.ParseInt(m.text(name), 10, 64)
	if err != nil {
		return -1 // "max"
	}
	return n
}

// text returns the text of a small file, "" if there is none.
func (m machine) text(name string) string {
	b, _ := os.ReadFile(m.root + name)
	return strings.TrimSpace(string(b))
}

// fields returns the numbers in a file of lines "name number", with sep behind the name.
func (m machine) fields(name, sep string) map[string]int64 {
	all := map[string]int64{}
	for _, l := range m.lines(name) {
		key, rest, _ := strings.Cut(l, sep)
		if f := strings.Fields(rest); len(f) > 0 {
			if n, err := strconv.ParseInt(f[0], 10, 64); err == nil {
				all[key] = n
			}
		}
	}
	return all
}

func (m machine) lines(name string) []string {
	b, err := os.ReadFile(m.root + name)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// hasWord reports whether a list with commas has the word.
func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// unescape undoes the octal escapes of the mount table.
func unescape(s string) string {
	for _, e := range [...][2]string{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, e[0], e[1])
	}
	return s
}
