package sys

import "testing"

func TestCPUQuota(t *testing.T) {
	const (
		cpu       = "/sys/fs/cgroup/cpu"
		mountinfo = "/proc/self/mountinfo"
		groups    = "/proc/self/cgroup"
	)
	for what, c := range map[string]struct {
		files map[string]string
		want  float64
	}{
		"none":         {nil, 0},
		"not readable": {map[string]string{mountinfo: v2Mount, groups: "0::/a/b\n"}, 0},
		"version 2": {map[string]string{mountinfo: v2Mount, groups: "0::/a/b\n",
			v2 + "/a/b/cpu.max": "150000 100000\n"}, 1.5},
		"no limit": {map[string]string{mountinfo: v2Mount, groups: "0::/a\n",
			v2 + "/a/cpu.max": "max 100000\n"}, 0},
		"the group around it has less": {map[string]string{mountinfo: v2Mount, groups: "0::/a/b\n",
			v2 + "/a/b/cpu.max": "400000 100000\n", v2 + "/a/cpu.max": "50000 100000\n"}, 0.5},
		"a container sees its group as the root": {map[string]string{mountinfo: v2Mount,
			groups: "0::/../x\n", v2 + "/cpu.max": "200000 100000\n"}, 2},
		"version 1": {map[string]string{mountinfo: v1Mount,
			groups:                      "3:cpuset:/c\n2:cpu,cpuacct:/c\n0::/\n",
			cpu + "/c/cpu.cfs_quota_us": "300000\n", cpu + "/c/cpu.cfs_period_us": "100000\n"}, 3},
		"version 1, no limit": {map[string]string{mountinfo: v1Mount, groups: "1:cpu:/\n",
			cpu + "/cpu.cfs_quota_us": "-1\n", cpu + "/cpu.cfs_period_us": "100000\n"}, 0},
		"not a number": {map[string]string{mountinfo: v2Mount, groups: "0::/\nx\n:\n",
			v2 + "/cpu.max": "many of them"}, 0},
	} {
		m := fake(t, c.files)
		if got := m.cpuQuota(m.cgroupMounts()); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
	if q := CPUQuota(); q < 0 {
		t.Errorf("a quota of %v", q)
	}
}
