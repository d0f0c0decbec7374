package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/sys"
)

// shmem check: this file has the command and the words of a trouble, checkseg.go what is looked for
// in a segment, checkhost.go what is looked for in processes and the machine.

// checkCmd finds what is wrong, and says which command helps.
type checkCmd struct {
	Held time.Duration `default:"1s" placeholder:"TIME" help:"A lock that a running process holds so long is found (${default})."`
	Full int           `default:"90" placeholder:"PERCENT" help:"Memory, inodes, slots, files, mappings, queues and lags that are so full are found (${default})."`
	JSON bool          `name:"json" help:"JSON, an array."`
}

func (*checkCmd) Help() string {
	return `Finds, worst first: locks whose holders are dead, stopped or long; queues that a lease
wedges; ends of Single queues whose process died; topics that a subscriber holds back; memory, slots
and limits that are nearly used up; damaged, copied and other-version segments; orphans, garbage and
segments without a name. Each finding has the process, the cause, and the command that helps. It
takes no lock. The exit code is 1 if there is any finding.

A stopped process is alive, and nothing is taken from it: it must go on, or end.`
}

// How bad a trouble is.
const (
	critical = "critical" // programs wait, or will fail
	warning  = "warning"  // programs will wait or fail when something else happens
	note     = "note"     // something is left over
)

var ranks = map[string]int{critical: 0, warning: 1, note: 2}

// A trouble is what check has found. Its JSON is for scripts: keys are neither renamed nor removed.
type trouble struct {
	Level   string `json:"level"`             // critical, warning, note
	Kind    string `json:"kind"`              // in a word or two with hyphens
	Segment string `json:"segment,omitempty"` // name of the segment
	Part    string `json:"part,omitempty"`    // of the value: path of a lock
	PID     int    `json:"pid,omitempty"`     // of the process that is to blame, in this namespace
	Program string `json:"program,omitempty"`
	State   string `json:"state,omitempty"` // of that process
	Cause   string `json:"cause"`           // in a sentence
	Waiting int    `json:"waiting"`         // attachments that wait for it, as far as that is known
	ForMS   num    `json:"forMs,omitempty"` // how long it was seen at least
	Command string `json:"command,omitempty"`
}

// A checkup collects troubles.
type checkup struct {
	*env
	cmd  *checkCmd
	ps   procs
	all  []trouble
	slow []*suspect      // locks of running processes, which may be held for long
	full map[string]bool // cgroups that are nearly full
}

func (c *checkCmd) Run(e *env) error {
	if c.Held < 0 || c.Full < 1 || c.Full > 100 {
		return usageError{fmt.Errorf("--held is a time, --full 1 to 100 percent")}
	}
	k := &checkup{env: e, cmd: c, full: map[string]bool{}, all: []trouble{}}
	if err := cmp.Or(k.run(), e.signalled()); err != nil {
		return err
	}
	if c.JSON {
		if err := e.json(k.all); err != nil {
			return err
		}
	} else {
		k.show()
	}
	if len(k.all) > 0 {
		return exitError(exitFailed)
	}
	return nil
}

// run looks at everything.
func (k *checkup) run() error {
	rows, err := k.rows(nil)
	if err != nil {
		return err
	}
	for _, r := range rows {
		k.segment(r)
	}
	k.long()
	k.hosts(rows)
	k.machine()
	slices.SortStableFunc(k.all, func(a, b trouble) int {
		return cmp.Or(cmp.Compare(ranks[a.Level], ranks[b.Level]),
			cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(a.Segment, b.Segment),
			cmp.Compare(a.Kind, b.Kind))
	})
	return nil
}

func (k *checkup) add(t trouble) { k.all = append(k.all, t) }

// blame fills in the process of a trouble.
func (t trouble) blame(p *proc, h inspect.Holder) trouble {
	t.PID = h.PID
	if p != nil {
		t.PID, t.Program, t.State = p.pid, p.name, p.state
	}
	return t
}

// show prints the troubles, each with its command.
func (k *checkup) show() {
	const column = 10
	for _, t := range k.all {
		head := k.style.magenta(pad("warning", column))
		switch t.Level {
		case critical:
			head = k.style.red(pad("CRITICAL", column))
		case note:
			head = k.style.faint(pad("note", column))
		}
		text := t.Cause
		if t.Segment != "" {
			text = t.Segment + ": " + text
		}
		for _, l := range fold(clean(text), max(k.width-column, 40)) {
			fmt.Fprintf(k.out, "%s%s\n", head, l)
			head = strings.Repeat(" ", column)
		}
		if t.Command != "" {
			fmt.Fprintf(k.out, "%s%s\n", head, k.style.cyan("→ "+clean(t.Command)))
		}
	}
	count := map[string]uint64{}
	for _, t := range k.all {
		count[t.Level]++
	}
	if len(k.all) == 0 {
		fmt.Fprintln(k.out, k.style.green("nothing found in "+clean(k.dir)))
		return
	}
	fmt.Fprintln(k.out, k.style.faint(fmt.Sprintf("%d critical, %s, %s in %s", count[critical],
		plural(count[warning], "warning"), plural(count[note], "note"), clean(k.dir))))
}

// holder says which process a holder is, and what would make it let go.
func (k *checkup) holder(st *inspect.Status, h inspect.Holder) (p *proc, text string) {
	p = k.ps.of(h.PID, namespaceOf(st, h))
	switch {
	case !h.Alive:
		p = nil // the pid may be that of another process by now
		text = fmt.Sprintf("%s %d, which died", cmp.Or(st.Program, "a process"), h.PID)
	case p != nil:
		text = p.text()
	default:
		text = "pid " + strconv.Itoa(h.PID) + " in another PID namespace"
	}
	return p, text
}

// namespaceOf returns the PID namespace of a holder, by its slot.
func namespaceOf(st *inspect.Status, h inspect.Holder) uint64 {
	for _, s := range st.Slots {
		if s.Slot == h.Slot && s.Generation == h.Generation {
			return s.PIDNamespace
		}
	}
	return sys.PIDNamespace()
}

// release returns the command that helps with a process that does not let go: a stopped one goes
// on, any other one is looked at. One that works is not ended, for that is for its user to decide.
func (k *checkup) release(p *proc) string {
	switch {
	case p == nil:
		return ""
	case p.state == "stopped":
		return fmt.Sprintf("kill -CONT %d", p.pid)
	}
	return k.command("ps", strconv.Itoa(p.pid))
}

// waitingFor counts the attachments that wait for one of some things, and names the first ones.
func (k *checkup) waitingFor(st *inspect.Status, what ...string) (n int, text string) {
	const most = 3
	var names []string
	for _, s := range st.Slots {
		if !slices.ContainsFunc(s.Waits, func(w string) bool { return slices.Contains(what, w) }) {
			continue
		}
		if n++; n <= most {
			name := "pid " + strconv.Itoa(s.PID)
			if p := k.ps.of(s.PID, s.PIDNamespace); p != nil {
				name = p.text()
			}
			names = append(names, name)
		}
	}
	switch {
	case n == 0:
		return 0, ""
	case n > most:
		names = append(names, fmt.Sprintf("%d more", n-most))
	}
	return n, "; it is waited for by " + strings.Join(names, ", ")
}

// percent is a share in whole percents; 0 of 0 is 0.
func percent(part, of uint64) int {
	if of == 0 {
		return 0
	}
	return int(float64(part) / float64(of) * 100)
}

// isOwn reports whether a file is this user's, so that gc removes it. The overflow uid stands for
// other users too: there the kernel is asked.
func isOwn(info shmem.Info) bool {
	me := os.Geteuid()
	if info.UID != me || uint32(me) != sys.OverflowUID() {
		return info.UID == me
	}
	file, err := sys.Open(info.Path, false)
	if err != nil {
		return false
	}
	defer file.Close()
	return file.Owned()
}
