package sys

import (
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
)

// Room returns what bounds the memory that this process can take most tightly: the memory cgroup,
// those above it, or the machine. ok is false where /proc does not say.
//
// It is an estimate, and other processes take memory meanwhile. Pages of files that the kernel can
// drop, and swap, count as free.
func Room() (r Memory, ok bool) { return machine{""}.room(memoryMounts()) }

// A machine is where the files of the kernel are found: "" is the root. Tests have others.
type machine struct{ root string }

// A memoryMount is where a hierarchy of memory cgroups is mounted.
type memoryMount struct {
	at, root string // mount point, and the group that is mounted there
	v2       bool
}

// memoryMounts are those of the real machine. They seldom change.
var memoryMounts = sync.OnceValue(machine{""}.memoryMounts)

func (m machine) room(mounts []memoryMount) (r Memory, ok bool) {
	info := m.fields("/proc/meminfo", ":")
	swap := info["SwapFree"] << 10
	if free, has := info["MemAvailable"]; has {
		r = Memory{Limit: (info["MemTotal"] + info["SwapTotal"]) << 10, Free: free<<10 + swap}
		ok = true
	} else if total := totalMemory(); total > 0 {
		r, ok = Memory{Limit: total, Free: total}, true
	}
	for _, mount := range mounts {
		group, has := m.group(mount.v2)
		if !has {
			continue
		}
		for g := mount.below(group); ; g = path.Dir(g) {
			limit, free, has := m.limits(path.Join(mount.at, g), mount.v2, swap)
			if has && (!ok || free < r.Free) {
				r, ok = Memory{Group: path.Join(mount.root, g), Limit: limit, Free: free}, true
			}
			if g == "/" {
				break
			}
		}
	}
	return r, ok
}

// memoryMounts finds the hierarchies of memory cgroups in the mount table.
func (m machine) memoryMounts() (all []memoryMount) {
	for _, l := range m.lines("/proc/self/mountinfo") {
		mount, kind, ok := strings.Cut(l, " - ")
		f, k := strings.Fields(mount), strings.Fields(kind)
		if !ok || len(f) < 5 || len(k) < 3 {
			continue
		}
		v2 := k[0] == "cgroup2"
		if v2 || k[0] == "cgroup" && hasWord(k[2], "memory") {
			all = append(all, memoryMount{unescape(f[4]), unescape(f[3]), v2})
		}
	}
	return all
}

// group returns the memory cgroup of this process.
func (m machine) group(v2 bool) (string, bool) {
	for _, l := range m.lines("/proc/self/cgroup") {
		f := strings.SplitN(l, ":", 3) // number, controllers, group
		if len(f) == 3 && (v2 && f[0] == "0" && f[1] == "" || !v2 && hasWord(f[1], "memory")) {
			return f[2], true
		}
	}
	return "", false
}

// below returns the path of a group under the mount point. A group that is not below what is
// mounted, as in some containers, is taken to be what is mounted.
func (m memoryMount) below(group string) string {
	rest, ok := group, true
	if m.root != "/" {
		rest, ok = strings.CutPrefix(group, m.root)
	}
	if !ok || strings.HasPrefix(group, "/..") || rest != "" && rest[0] != '/' {
		return "/"
	}
	return path.Join("/", rest)
}

// limits returns the limit of one group and how much of it is free, swap included. ok is false if
// there is no limit.
func (m machine) limits(dir string, v2 bool, swap int64) (limit, free int64, ok bool) {
	file := func(name string) int64 { return m.number(dir + "/" + name) }
	if v2 {
		if limit = file("memory.max"); limit < 0 {
			return 0, 0, false
		}
		stat := m.fields(dir+"/memory.stat", " ")
		free = limit - max(0, file("memory.current")) + stat["inactive_file"] + stat["active_file"]
		if most := file("memory.swap.max"); most >= 0 {
			swap = min(swap, max(0, most-max(0, file("memory.swap.current"))))
		}
		return limit, max(0, min(limit, free)+swap), true
	}
	if limit = file("memory.limit_in_bytes"); limit < 0 || limit >= 1<<60 {
		return 0, 0, false
	}
	stat := m.fields(dir+"/memory.stat", " ")
	cache := stat["total_inactive_file"] + stat["total_active_file"]
	free = min(limit, limit-max(0, file("memory.usage_in_bytes"))+cache) + swap
	if both := file("memory.memsw.limit_in_bytes"); both >= 0 && both < 1<<60 {
		free = min(free, both-max(0, file("memory.memsw.usage_in_bytes"))+cache)
	}
	return limit, max(0, free), true
}

// number returns the number in a small file, -1 if there is none.
func (m machine) number(name string) int64 {
	b, err := os.ReadFile(m.root + name)
	if err != nil {
		return -1
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return -1 // "max"
	}
	return n
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
