package sys

import "testing"

func TestCPUQuota(t *testing.T) {
	for _, c := range []struct {
		name, groups string
		files        map[string]string
		want         float64
	}{
		{"none", "", nil, 0},
		{"not readable", "0::/a/b\n", nil, 0},
		{"version 2", "0::/a/b\n", map[string]string{"/sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5},
		{"no limit", "0::/a\n", map[string]string{"/sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 0},
		{"the group around it has less", "0::/a/b\n", map[string]string{
			"/sys/fs/cgroup/a/b/cpu.max": "400000 100000\n", "/sys/fs/cgroup/a/cpu.max": "50000 100000\n",
		}, 0.5},
		{"a container sees its group as the root", "0::/../x\n", map[string]string{
			"/sys/fs/cgroup/cpu.max": "200000 100000\n",
		}, 2},
		{"version 1", "3:cpuset:/c\n2:cpu,cpuacct:/c\n0::/\n", map[string]string{
			"/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": "300000\n", "/sys/fs/cgroup/cpu/c/cpu.cfs_period_us": "100000\n",
		}, 3},
		{"version 1, no limit", "1:cpu:/\n", map[string]string{
			"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
		}, 0},
		{"not a number", "0::/\nx\n:\n", map[string]string{"/sys/fs/cgroup/cpu.max": "many of them"}, 0},
	} {
		got := cpuQuota(c.groups, func(name string) string { return c.files[name] })
		if got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if q := CPUQuota(); q < 0 {
		t.Errorf("a quota of %v", q)
	}
}
