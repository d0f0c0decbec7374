package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// psCmd shows the processes that are attached.
type psCmd struct {
	PID  []int `arg:"" optional:"" help:"Processes to show in full, by their pids here."`
	JSON bool  `name:"json" help:"JSON, an array of processes."`
}

func (*psCmd) Help() string {
	return `Shows each process that is attached to a segment, stopped ones first. With a PID it
shows all there is: command line, user, container, and for each segment what the process holds, what
it waits for, and what would happen if it died. A process of another container has its pid there
too, where this one may look into it.`
}

// An attachment is what a process has of a segment. Its JSON is for scripts: keys are neither
// renamed nor removed.
type attachment struct {
	Segment  string   `json:"segment"`
	Path     string   `json:"path"`
	Slot     int      `json:"slot"`
	Owner    bool     `json:"owner"`
	ReadOnly bool     `json:"readOnly"`
	Unlinked bool     `json:"unlinked"`
	Since    moment   `json:"since"`
	Holds    []string `json:"holds"`    // locks, leases, ends and holds
	Waits    []string `json:"waits"`    // what it waits for
	IfDied   []string `json:"ifItDied"` // what would happen
}

// A psProcess is a process with its attachments.
type psProcess struct {
	PID       int          `json:"pid"` // in this namespace; 0 if it is not to be seen from here
	InnerPID  int          `json:"innerPid"`
	Namespace count64      `json:"pidNamespace"`
	Program   string       `json:"program"`
	Command   string       `json:"command"`
	State     string       `json:"state"` // see processStates; ? if unknown
	UID       int          `json:"uid"`   // -1 if unknown
	User      string       `json:"user"`
	Container string       `json:"container,omitempty"`
	Segments  []attachment `json:"segments"`
}

func (c *psCmd) Run(e *env) error {
	rows, err := e.rows(nil)
	if err != nil {
		return err
	}
	all := e.attached(rows)
	if len(c.PID) > 0 {
		all = slices.DeleteFunc(all,
			func(p psProcess) bool { return !slices.Contains(c.PID, p.PID) })
		if len(all) == 0 {
			return fmt.Errorf("no process %s is attached to a segment of %s: %w",
				strings.Trim(fmt.Sprint(c.PID), "[]"), e.dir, fs.ErrNotExist)
		}
	}
	switch {
	case c.JSON:
		return e.json(all)
	case len(c.PID) > 0:
		for i, p := range all {
			if i > 0 {
				fmt.Fprintln(e.out)
			}
			e.showProcess(p)
		}
		return nil
	}
	e.listProcesses(all)
	return nil
}

// attached returns the processes of all attachments, stopped ones first.
func (e *env) attached(rows []row) []psProcess {
	var ps procs
	all, index := []psProcess{}, map[innerPID]int{}
	for _, r := range rows {
		if r.err != nil || r.Err != nil || len(r.Peers) == 0 {
			continue
		}
		st := e.statusOf(r)
		for _, peer := range r.Peers {
			key := innerPID{peer.PIDNamespace, peer.PID}
			i, ok := index[key]
			if !ok {
				i = len(all)
				index[key] = i
				all = append(all, psOf(&ps, peer))
			}
			all[i].Segments = append(all[i].Segments, attachmentOf(r, st, peer))
		}
	}
	slices.SortStableFunc(all, func(a, b psProcess) int {
		stopped := func(p psProcess) int {
			if p.State == "stopped" || p.State == "traced" {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(stopped(a), stopped(b)), cmp.Compare(a.PID, b.PID),
			cmp.Compare(a.InnerPID, b.InnerPID))
	})
	return all
}

// statusOf returns the status of a segment, nil if it cannot be had.
func (e *env) statusOf(r row) *inspect.Status {
	o, err := openPath(r.Path)
	if err != nil {
		return nil
	}
	defer o.Close()
	st, err := o.Status()
	if err != nil {
		return nil
	}
	return st
}

func psOf(ps *procs, peer shmem.Peer) psProcess {
	j := psProcess{InnerPID: peer.PID, Namespace: count64(peer.PIDNamespace), UID: -1, State: "?"}
	p := ps.ofPeer(peer)
	if p == nil {
		if peer.PIDNamespace == ownNamespace() {
			j.PID = peer.PID
		}
		return j
	}
	j.PID, j.Program, j.Command, j.State, j.UID = p.pid, p.name, p.command, p.state, p.uid
	j.Container, j.User = p.container, userName(p.uid)
	return j
}

// attachmentOf says what a peer has of a segment. st may be nil.
func attachmentOf(r row, st *inspect.Status, peer shmem.Peer) attachment {
	a := attachment{Segment: r.Name, Path: r.Path, Slot: peer.Slot, ReadOnly: peer.ReadOnly,
		Unlinked: r.unlinked, Since: moment(peer.Since), Holds: []string{}, Waits: []string{},
		IfDied: []string{}}
	a.Owner = r.Owner != nil && r.Owner.Slot == peer.Slot
	if st == nil {
		return a
	}
	for _, s := range st.Slots {
		if s.Slot == peer.Slot && s.Waits != nil {
			a.Waits = s.Waits
		}
	}
	hold := func(what, then string) {
		a.Holds = append(a.Holds, what)
		if then != "" && !slices.Contains(a.IfDied, then) {
			a.IfDied = append(a.IfDied, then)
		}
	}
	mine := func(h inspect.Holder) bool { return h != (inspect.Holder{}) && h.Slot == peer.Slot }
	for _, h := range st.Lock.Holders {
		if mine(h) && st.Stats == nil {
			then := "the next process that locks undoes its change"
			if st.ImageOff == 0 {
				then = "the value would stay half changed, and others get ErrOwnerDied"
			}
			hold("lock", then)
		}
	}
	for _, h := range st.Readers {
		if mine(h) {
			hold("View", "writers go on")
		}
	}
	for _, l := range st.Locks {
		for _, h := range l.Holders {
			if mine(h) {
				hold(l.Path+" ("+l.Type+", "+h.What+")", ifLockDied(l.LockState, h))
			}
		}
	}
	streamHolds(st.Stats, mine, hold)
	if a.Owner {
		a.IfDied = append(a.IfDied, strings.TrimPrefix(st.Fate, "if the owner dies: "))
	}
	return a
}

// ifLockDied says what happens to a lock of psync when its holder dies.
func ifLockDied(l inspect.LockState, h inspect.Holder) string {
	switch {
	case h.What == "write" && l.Type != "psync.Once":
		return "the next Lock returns ErrOwnerDied, and Recover is needed"
	case h.What == "promise":
		return "those who wait for the event get ErrOwnerDied"
	}
	return "what it holds is free again"
}

// streamHolds calls hold for all that an attachment has of a queue or topic. s may be nil.
func streamHolds(s *inspect.Stats, mine func(inspect.Holder) bool, hold func(what, then string)) {
	if s == nil {
		return
	}
	for _, l := range s.Leases {
		then := "its messages are redelivered"
		if l.What == "send" {
			then = "its messages are skipped"
		}
		if mine(l.Holder) {
			hold(fmt.Sprintf("%s of %s", l.What, plural(uint64(l.Count), "message")), then)
		}
	}
	if mine(s.Sender) {
		hold("the sending end", "another process can send")
	}
	if mine(s.Receiver) {
		hold("the receiving end", "another process can receive; its last message is redelivered")
	}
	if mine(s.SlowestHolder) {
		hold(fmt.Sprintf("publishers, %s behind", plural(s.Lag, "message")),
			"the next publisher that waits goes on")
	}
}

func (e *env) listProcesses(all []psProcess) {
	cells := make([][]string, len(all))
	for i, p := range all {
		var held, waits []string
		for _, a := range p.Segments {
			for _, h := range a.Holds {
				held = append(held, a.Segment+": "+h)
			}
			for _, w := range a.Waits {
				waits = append(waits, a.Segment+": "+w)
			}
		}
		cells[i] = []string{pidText(p), cmp.Or(p.Program, "?"), p.State, cmp.Or(p.User, "?"),
			cmp.Or(p.Container, "-"), strconv.Itoa(len(p.Segments)), listText(held),
			listText(waits)}
	}
	if len(all) == 0 {
		fmt.Fprintf(e.out, "no process is attached to a segment of %s\n", clean(e.dir))
		return
	}
	e.table([]column{
		{head: "PID", right: true},
		{head: "PROGRAM", least: 8, last: 1, paint: painted(e.style.bold)},
		{head: "STATE", paint: func(i int, s string) string {
			if all[i].State == "stopped" || all[i].State == "traced" {
				return e.style.red(s)
			}
			return s
		}},
		{head: "USER", least: 4, spare: true}, {head: "CONTAINER", least: 4, spare: true},
		{head: "SEGMENTS", right: true, last: 2}, {head: "HOLDS", least: 10},
		{head: "WAITS FOR", least: 9},
	}, cells)
}

// pidText is the pid of a process, and the one that it has in its own namespace if that differs.
func pidText(p psProcess) string {
	switch {
	case p.PID == 0:
		return fmt.Sprintf("(%d)", p.InnerPID)
	case p.PID != p.InnerPID:
		return fmt.Sprintf("%d (%d)", p.PID, p.InnerPID)
	}
	return strconv.Itoa(p.PID)
}

func listText(all []string) string {
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ", ")
}

// showProcess shows everything about a process.
func (e *env) showProcess(p psProcess) {
	fmt.Fprintf(e.out, "%s  %s\n", e.style.bold(clean(pidText(p)+" "+cmp.Or(p.Program, "?"))),
		clean(p.State))
	e.showStatLine(statLine{label: "command", text: cmp.Or(p.Command, "-")})
	who := cmp.Or(p.User, "?")
	if p.Container != "" {
		who += ", container " + p.Container
	}
	e.showStatLine(statLine{label: "user", text: who})
	for _, a := range p.Segments {
		what := fmt.Sprintf("slot %d", a.Slot)
		if a.Owner {
			what += ", owner"
		}
		if a.ReadOnly {
			what += ", read-only"
		}
		if a.Unlinked {
			what += ", unlinked"
		}
		fmt.Fprintf(e.out, "\n%s  %s\n", e.style.bold(clean(a.Segment)), clean(what))
		for _, l := range []struct {
			label string
			all   []string
			tone  tone
		}{
			{"holds", a.Holds, notable}, {"waits for", a.Waits, notable},
			{"if it died", a.IfDied, plain},
		} {
			label := l.label
			for _, text := range l.all {
				e.showStatLine(statLine{label: label, text: text, tone: l.tone})
				label = ""
			}
		}
	}
}
