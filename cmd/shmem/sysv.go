package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A sysvSegment is a shared memory segment of System V, as the kernel lists it. ShmemBox makes
// none, and removes none: ipcrm does.
type sysvSegment struct {
	ID       int    `json:"id"`
	Key      string `json:"key"` // in hex, as ipcs has it
	Mode     string `json:"mode"`
	UID      int    `json:"uid"`
	Size     num    `json:"size"`
	Memory   num    `json:"memory"`
	Swap     num    `json:"swap"`
	Attached int    `json:"attached"`
	Creator  int    `json:"creatorPid"`
	Last     int    `json:"lastPid"` // that attached or detached
	Changed  moment `json:"changed"`
	Removed  bool   `json:"removed"` // it ends with the last process attached
}

// sysvFile is where the kernel lists the segments of the IPC namespace of this process.
const sysvFile = "/proc/sysvipc/shm"

// sysvSegments returns the System V segments, none where the kernel has no such list.
func sysvSegments() []sysvSegment {
	all := []sysvSegment{}
	f, err := os.Open(sysvFile)
	if err != nil {
		return all
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	var heads []string
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if heads == nil {
			heads = fields
			continue
		}
		byHead := map[string]string{}
		for i, h := range heads {
			if i < len(fields) {
				byHead[h] = fields[i]
			}
		}
		all = append(all, sysvOf(byHead))
	}
	return all
}

// sysvOf is a segment by the heads of the kernel's list.
func sysvOf(fields map[string]string) sysvSegment {
	number := func(head string) int64 {
		n, _ := strconv.ParseInt(fields[head], 10, 64)
		return n
	}
	const destroyed = 0o1000 // SHM_DEST, in the mode
	mode, _ := strconv.ParseUint(fields["perms"], 8, 32)
	return sysvSegment{
		ID: int(number("shmid")), Key: fmt.Sprintf("0x%08x", uint32(number("key"))),
		Mode: os.FileMode(mode & 0o777).String(), UID: int(number("uid")),
		Size: num(number("size")), Memory: num(number("rss")), Swap: num(number("swap")),
		Attached: int(number("nattch")), Creator: int(number("cpid")), Last: int(number("lpid")),
		Changed: moment(time.Unix(number("ctime"), 0)), Removed: mode&destroyed != 0,
	}
}

// showSysV lists them.
func (e *env) showSysV(all []sysvSegment) {
	if len(all) == 0 {
		fmt.Fprintln(e.out, "no System V segments in this IPC namespace")
		return
	}
	var memory int64
	cells := make([][]string, len(all))
	for i, s := range all {
		memory += int64(s.Memory)
		state := "live"
		switch {
		case s.Removed:
			state = "removed"
		case s.Attached == 0:
			state = "no process attached"
		}
		maker := comm(s.Creator, "-") + " " + strconv.Itoa(s.Creator)
		cells[i] = []string{strconv.Itoa(s.ID), s.Key, s.Mode, userName(s.UID), size(int64(s.Size)),
			size(int64(s.Memory)), strconv.Itoa(s.Attached),
			maker, since(time.Time(s.Changed)), state}
	}
	e.table([]column{
		{head: "ID", right: true}, {head: "KEY"}, {head: "MODE", spare: true},
		{head: "USER", least: 4, spare: true}, {head: "SIZE", right: true},
		{head: "MEM", right: true}, {head: "ATT", right: true}, {head: "MADE BY", least: 8},
		{head: "SINCE", right: true, spare: true}, {head: "STATE", least: 8},
	}, cells)
	fmt.Fprintln(e.out, e.style.faint(fmt.Sprintf("%s, %s of memory; ipcrm -m ID removes one",
		plural(uint64(len(all)), "System V segment"), bytesText(memory))))
}
