package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shmembox/shmem/internal/sys"
)

// hosts looks for troubles of the processes that are attached.
func (k *checkup) hosts(rows []row) {
	all := k.attachedTo(rows)
	k.stoppedHosts(all)
	k.nearLimits(all)
}

// A host is a process that is attached to segments.
type host struct {
	*proc
	segments []string
}

// attachedTo returns the processes that are attached, in the order of their first segments.
func (k *checkup) attachedTo(rows []row) (all []*host) {
	at := map[int]*host{}
	for _, r := range rows {
		for _, peer := range r.Peers {
			p := k.ps.ofPeer(peer)
			if p == nil {
				continue
			}
			h := at[p.pid]
			if h == nil {
				h = &host{proc: p}
				at[p.pid] = h
				all = append(all, h)
			}
			if n := len(h.segments); n == 0 || h.segments[n-1] != r.Name {
				h.segments = append(h.segments, r.Name)
			}
		}
	}
	return all
}

// stoppedHosts finds stopped processes that no other trouble names.
func (k *checkup) stoppedHosts(all []*host) {
	blamed := map[int]bool{}
	for _, t := range k.all {
		blamed[t.PID] = true
	}
	for _, p := range all {
		if p.stopped() && !blamed[p.pid] {
			k.add(trouble{Level: warning, Kind: "stopped-process", PID: p.pid, Program: p.name,
				State: p.state, Command: k.release(p.proc),
				Cause: fmt.Sprintf("%s is attached to %s", p.text(), firstOf(p.segments))})
		}
	}
}

// nearLimits finds processes that have nearly all that they may have.
func (k *checkup) nearLimits(all []*host) {
	mappings, _ := strconv.ParseUint(readLine("/proc/sys/vm/max_map_count"), 10, 64)
	for _, p := range all {
		k.limits(p.proc, mappings)
		k.cgroup(p.pid, p.proc)
	}
}

// firstOf names the first ones of a list.
func firstOf(names []string) string {
	const most = 3
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// limits finds a process that is about to run out of files or mappings, of which it can have most.
func (k *checkup) limits(p *proc, most uint64) {
	near := func(kind, what string, has, of uint64, command string) {
		if of == 0 || percent(has, of) < k.cmd.Full {
			return
		}
		k.add(trouble{Level: warning, Kind: kind, PID: p.pid, Program: p.name, State: p.state,
			Command: command,
			Cause:   fmt.Sprintf("%s has %d of %d %s", p.text(), has, of, what)})
	}
	base := filepath.Join("/proc", strconv.Itoa(p.pid))
	if d, err := os.Open(filepath.Join(base, "fd")); err == nil {
		names, _ := d.Readdirnames(-1)
		d.Close()
		most := openLimit(p.pid)
		near("few-files", "files open that it may have", uint64(len(names)), most,
			fmt.Sprintf("prlimit --pid %d --nofile=%d:", p.pid, 2*most))
	}
	if most == 0 {
		return
	}
	maps := uint64(strings.Count(procFile(p.pid, "maps", 64<<20), "\n"))
	near("few-mappings", "mappings that there can be", maps, most,
		fmt.Sprintf("sysctl vm.max_map_count=%d", 4*most))
}

// openLimit returns how many files a process may have open, 0 if that is not known.
func openLimit(pid int) uint64 {
	for l := range strings.Lines(procFile(pid, "limits", 8192)) {
		if rest, ok := strings.CutPrefix(l, "Max open files"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				n, _ := strconv.ParseUint(f[0], 10, 64)
				return n
			}
		}
	}
	return 0
}

// cgroup finds a memory cgroup of a process that is nearly full: a segment that grows it further
// ends the process. Pages of files that the kernel can drop, and swap, count as free.
func (k *checkup) cgroup(pid int, p *proc) {
	if room, ok := sys.RoomOf(pid); ok {
		k.room(room, pid, p)
	}
}

// room is cgroup for what is known of its memory.
func (k *checkup) room(room sys.Memory, pid int, p *proc) {
	used := uint64(max(0, room.Limit-room.Free))
	if room.Group == "" || k.full[room.Group] ||
		percent(used, uint64(room.Limit)) < k.cmd.Full {
		return
	}
	k.full[room.Group] = true // say it of one process
	t := trouble{Level: critical, Kind: "memory-limit", PID: pid,
		Command: k.command("ls --sort size")}
	name := "this process"
	if p != nil {
		t.Program, t.State, name = p.name, p.state, p.text()
	}
	t.Cause = fmt.Sprintf("the memory cgroup %s of %s has %s of %s: the kernel ends a process "+
		"that takes more", room.Group, name, bytesText(int64(used)), bytesText(room.Limit))
	k.add(t)
}

// machine looks for troubles of the directory.
func (k *checkup) machine() {
	if m, err := sys.MountOf(k.dir); err == nil {
		k.mount(m)
	}
	k.cgroup(os.Getpid(), nil)
}

// mount looks for troubles of the file system.
func (k *checkup) mount(m sys.Mount) {
	if m.Type == sys.TmpfsMagic && m.Size > 0 {
		if full := percent(uint64(m.Size-m.Avail), uint64(m.Size)); full >= k.cmd.Full {
			k.add(trouble{Level: critical, Kind: "memory-full",
				Command: k.command("ls --sort size"),
				Cause: fmt.Sprintf("%s of %s in %s are used: new segments fail with ErrNoSpace",
					bytesText(m.Size-m.Avail), bytesText(m.Size), k.dir)})
		}
	}
	if total := m.Files; total > 0 && m.Inodes >= 0 && m.Inodes <= total {
		if full := percent(uint64(total-m.Inodes), uint64(total)); full >= k.cmd.Full {
			k.add(trouble{Level: critical, Kind: "inodes-full", Command: k.command("gc"),
				Cause: fmt.Sprintf("%d of %d inodes of %s are used: when none is left, no segment "+
					"can be created", total-m.Inodes, total, k.dir)})
		}
	}
}
