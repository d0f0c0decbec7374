package sys

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fake returns a machine with these files, by path.
func fake(t *testing.T, files map[string]string) machine {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return machine{root, "self"}
}

const (
	meminfo = "MemTotal:       16000 kB\nMemFree:   10 kB\nMemAvailable:    9000 kB\nSwapTotal: 1000 kB\nSwapFree:  500 kB\n"
	noSwap  = "MemTotal:       16000 kB\nMemAvailable:    9000 kB\n"
	v1Mount = "31 27 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
		"34 27 0:29 / /sys/fs/cgroup/memory rw,relatime shared:5 - cgroup cgroup rw,memory\n"
	v2Mount = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	v1      = "/sys/fs/cgroup/memory"
	v2      = "/sys/fs/cgroup"
)

func TestRoom(t *testing.T) {
	const kB = 1 << 10
	for what, c := range map[string]struct {
		files map[string]string
		want  Memory
	}{
		"no limit": {map[string]string{"/proc/self/cgroup": "0::/a\n", "/proc/self/mountinfo": v2Mount,
			v2 + "/a/memory.max": "max\n"}, Memory{"", 17000 * kB, 9500 * kB}},
		"v2, own group": {map[string]string{"/proc/self/cgroup": "0::/a/b\n", "/proc/self/mountinfo": v2Mount,
			v2 + "/a/memory.max": "max\n", v2 + "/a/b/memory.max": "1024000\n", v2 + "/a/b/memory.current": "24000\n",
			v2 + "/a/b/memory.swap.max": "0\n"}, Memory{"/a/b", 1024000, 1000000}},
		"v2, parent": {map[string]string{"/proc/self/cgroup": "0::/a/b\n", "/proc/self/mountinfo": v2Mount,
			v2 + "/a/memory.max": "500000\n", v2 + "/a/memory.current": "100000\n", v2 + "/a/memory.swap.max": "0\n",
			v2 + "/a/b/memory.max": "1024000\n", v2 + "/a/b/memory.current": "24000\n"}, Memory{"/a", 500000, 400000}},
		"v2, files and swap": {map[string]string{"/proc/self/cgroup": "0::/a\n", "/proc/self/mountinfo": v2Mount,
			v2 + "/a/memory.max": "100000\n", v2 + "/a/memory.current": "100000\n",
			v2 + "/a/memory.stat":     "anon 1\nfile 99\ninactive_file 30\nactive_file 12\nshmem 90000\n",
			v2 + "/a/memory.swap.max": "5000\n", v2 + "/a/memory.swap.current": "1000\n"}, Memory{"/a", 100000, 4042}},
		"v2, above its limit": {map[string]string{"/proc/self/cgroup": "0::/a\n", "/proc/self/mountinfo": v2Mount,
			v2 + "/a/memory.max": "100000\n", v2 + "/a/memory.current": "200000\n", v2 + "/a/memory.swap.max": "0"},
			Memory{"/a", 100000, 0}},
		"v2, in a container with its own namespace": {map[string]string{"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": v2Mount,
			v2 + "/memory.max": "70000\n", v2 + "/memory.current": "20000\n", v2 + "/memory.swap.max": "0"},
			Memory{"/", 70000, 50000}},
		"v2, outside of its namespace": {map[string]string{"/proc/self/cgroup": "0::/../x\n", "/proc/self/mountinfo": v2Mount,
			v2 + "/memory.max": "70000\n", v2 + "/memory.current": "20000\n", v2 + "/memory.swap.max": "0"},
			Memory{"/", 70000, 50000}},
		"v1, own group and parent": {map[string]string{
			"/proc/self/cgroup": "5:cpu:/\n4:hugetlb,memory:/a/b\n0::/\n", "/proc/self/mountinfo": v1Mount, "/proc/meminfo": noSwap,
			v1 + "/memory.limit_in_bytes":   "9223372036854771712\n",
			v1 + "/a/memory.limit_in_bytes": "60000\n", v1 + "/a/memory.usage_in_bytes": "50000\n",
			v1 + "/a/memory.stat":             "cache 1\ntotal_inactive_file 100\ntotal_active_file 20\n",
			v1 + "/a/b/memory.limit_in_bytes": "9223372036854771712\n"}, Memory{"/a", 60000, 10120}},
		"v1, memory and swap": {map[string]string{"/proc/self/cgroup": "4:memory:/a\n", "/proc/self/mountinfo": v1Mount,
			v1 + "/a/memory.limit_in_bytes": "60000\n", v1 + "/a/memory.usage_in_bytes": "50000\n",
			v1 + "/a/memory.memsw.limit_in_bytes": "61000\n", v1 + "/a/memory.memsw.usage_in_bytes": "50000\n"},
			Memory{"/a", 60000, 11000}},
		"v1, in a container that sees its own group": {map[string]string{
			"/proc/self/cgroup": "4:memory:/docker/f00\n", "/proc/meminfo": noSwap,
			"/proc/self/mountinfo":        "34 27 0:29 /docker/f00 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			v1 + "/memory.limit_in_bytes": "60000\n", v1 + "/memory.usage_in_bytes": "50000\n"}, Memory{"/docker/f00", 60000, 10000}},
		"v1, a mount point with a space": {map[string]string{
			"/proc/self/cgroup": "4:memory:/docker/f0\n", "/proc/meminfo": noSwap,
			"/proc/self/mountinfo":            `34 27 0:29 /docker/f00 /my\040group ro - cgroup cgroup rw,memory` + "\n",
			"/my group/memory.limit_in_bytes": "60000\n", "/my group/memory.usage_in_bytes": "50000\n"}, Memory{"/docker/f00", 60000, 10000}},
	} {
		t.Run(what, func(t *testing.T) {
			if c.files["/proc/meminfo"] == "" {
				c.files["/proc/meminfo"] = meminfo
			}
			m := fake(t, c.files)
			got, ok := m.room(m.cgroupMounts())
			if !ok || got != c.want {
				t.Errorf("%+v, %v; want %+v", got, ok, c.want)
			}
		})
	}
}

// The room of another process is that of its cgroups.
func TestRoomOf(t *testing.T) {
	m := fake(t, map[string]string{"/proc/meminfo": meminfo, "/proc/self/mountinfo": v2Mount,
		"/proc/self/cgroup": "0::/a\n", "/proc/17/cgroup": "0::/b\n",
		v2 + "/a/memory.max": "10000\n", v2 + "/b/memory.max": "20000\n",
		v2 + "/b/memory.current": "5000\n", v2 + "/b/memory.swap.max": "0\n"})
	m.process = "17"
	want := Memory{"/b", 20000, 15000}
	if got, ok := m.room(m.cgroupMounts()); !ok || got != want {
		t.Errorf("%+v, %v; want %+v", got, ok, want)
	}
}

// What cannot be read is no limit.
func TestRoomUnknown(t *testing.T) {
	m := fake(t, map[string]string{"/proc/self/cgroup": "0::/a\nnonsense\n", "/proc/self/mountinfo": "a b c\n - \n" + v2Mount})
	if r, ok := m.room(m.cgroupMounts()); !ok || r.Group != "" || r.Limit < 16<<20 || r.Free != r.Limit {
		t.Errorf("without /proc/meminfo: %+v, %v", r, ok)
	}
	if all := m.cgroupMounts(); len(all) != 1 || !all[0].v2 {
		t.Errorf("mounts %+v", all)
	}
	if s := unescape(strings.Repeat(`\040\011\012\134`, 2)); s != strings.Repeat(" \t\n\\", 2) {
		t.Errorf("%q", s)
	}
}
