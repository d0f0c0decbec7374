package sys

import (
	"strconv"
	"strings"
)

func CPUQuota() float64 { return thisMachine("self").cpuQuota(cgroupMounts()) }

func (m machine) cpuQuota(mounts []cgroupMount) (quota float64) {
	for g := range m.cgroups(mounts, "cpu") {
		if q := m.quotaOf(g); q > 0 && (quota == 0 || q < quota) {
			quota = q
		}
	}
	return quota
}

// quotaOf returns the quota of one group: time over period, both in microseconds. 0: it has none.
func (m machine) quotaOf(g cgroup) float64 {
	var quota, period string
	if g.v2 {
		quota, period, _ = strings.Cut(m.text(g.dir+"/cpu.max"), " ") // "max": none
	} else {
		quota, period = m.text(g.dir+"/cpu.cfs_quota_us"), m.text(g.dir+"/cpu.cfs_period_us")
	}
	q, err := strconv.ParseFloat(quota, 64)
	p, e := strconv.ParseFloat(period, 64)
	if err != nil || e != nil || q <= 0 || p <= 0 {
		return 0
	}
	return q / p
}
