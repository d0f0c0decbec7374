package sys

import (
	"os"
	"path"
	"strconv"
	"strings"
)

// CPUQuota returns how many CPUs the cgroups of this process let it use on average. It returns 0 if
// they set no limit, or if they cannot be read.
func CPUQuota() float64 {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	return cpuQuota(string(b), func(name string) string {
		b, _ := os.ReadFile(name)
		return string(b)
	})
}

// cpuQuota is CPUQuota for the text of /proc/self/cgroup. read returns the text of a file, "" if
// there is none.
func cpuQuota(groups string, read func(name string) string) (quota float64) {
	for line := range strings.Lines(groups) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, ok := strings.Cut(rest, ":")
		switch {
		case !ok:
			continue
		case controllers == "":
			quota = lower(quota, walk("/sys/fs/cgroup", group, read, quotaV2))
		case strings.Contains(","+controllers+",", ",cpu,"):
			quota = lower(quota, walk("/sys/fs/cgroup/cpu", group, read, quotaV1))
		}
	}
	return quota
}

// walk returns the lowest quota of a group and of those that it is in. A process in a container may
// see its own group as the root, whatever its path is.
func walk(
	root, group string, read func(string) string, quotaOf func(string, func(string) string) float64,
) (quota float64) {
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		quota = lower(quota, quotaOf(path.Join(root, group), read))
		if group == "/" {
			return quota
		}
	}
}

// quotaV2 reads cpu.max: a quota or "max", and a period, both in microseconds.
func quotaV2(dir string, read func(string) string) float64 {
	quota, period, _ := strings.Cut(strings.TrimSpace(read(dir+"/cpu.max")), " ")
	return ratio(quota, period)
}

// quotaV1 reads the two files of version 1; a quota of -1 is no limit.
func quotaV1(dir string, read func(string) string) float64 {
	return ratio(strings.TrimSpace(read(dir+"/cpu.cfs_quota_us")),
		strings.TrimSpace(read(dir+"/cpu.cfs_period_us")))
}

func ratio(quota, period string) float64 {
	q, err := strconv.ParseFloat(quota, 64)
	p, e := strconv.ParseFloat(period, 64)
	if err != nil || e != nil || q <= 0 || p <= 0 {
		return 0
	}
	return q / p
}

// lower returns the lower of two quotas, of which 0 is none.
func lower(a, b float64) float64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
