package sys

import "strconv"

func Room() (r Memory, ok bool) { return thisMachine("self").room(cgroupMounts()) }

func RoomOf(pid int) (r Memory, ok bool) {
	return thisMachine(strconv.Itoa(pid)).room(cgroupMounts())
}

func (m machine) room(mounts []cgroupMount) (r Memory, ok bool) {
	info := m.fields("/proc/meminfo", ":")
	swap := info["SwapFree"] << 10
	if free, has := info["MemAvailable"]; has {
		r = Memory{Limit: (info["MemTotal"] + info["SwapTotal"]) << 10, Free: free<<10 + swap}
		ok = true
	} else if total := totalMemory(); total > 0 {
		r, ok = Memory{Limit: total, Free: total}, true
	}
	for g := range m.cgroups(mounts, "memory") {
		limit, free, has := m.limits(g.dir, g.v2, swap)
		if has && (!ok || free < r.Free) {
			r, ok = Memory{Group: g.name, Limit: limit, Free: free}, true
		}
	}
	return r, ok
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
