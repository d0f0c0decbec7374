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
	Held     time.Duration `default:"1s" placeholder:"TIME" help:"A lock that a running process holds so long is found (${default})."`
	Full     int           `default:"90" placeholder:"PERCENT" help:"Memory, inodes, slots, files, mappings, queues and lags that are so full are found (${default})."`
	Level    string        `enum:"critical,warning,note" default:"note" placeholder:"LEVEL" help:"Leave out what is less than critical, warning or note (${default})."`
	Watch    bool          `short:"w" help:"Look again and again: print what is new, and what is over."`
	Interval time.Duration `short:"i" default:"5s" help:"With --watch: time between two looks (${default})."`
	Count    int           `short:"n" help:"With --watch: end after so many looks."`
	JSON     bool          `name:"json" help:"JSON, an array; with --watch a line for each event."`
}

func (*checkCmd) Help() string {
	return `Finds, worst first: locks whose holders are dead, stopped or long; queues that a lease
wedges; ends of Single queues whose process died; topics that a subscriber holds back; memory, slots
and limits that are nearly used up; damaged, copied and other-version segments; orphans, garbage and
segments without a name. Each finding has the process, the cause, and the command that helps. It
takes no lock. The exit code is 1 if there is any finding; with --watch, if the last look found one.

Where only a program or its user can mend it, the command shows more of it: "# shows more" stands
behind it, and "mends" is false in JSON.

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
	// the container whose directory has the segment, with --containers
	Container string `json:"container,omitempty"`
	PID       int    `json:"pid,omitempty"` // of the process that is to blame, in this namespace
	Program   string `json:"program,omitempty"`
	State     string `json:"state,omitempty"` // of that process
	Cause     string `json:"cause"`           // in a sentence
	Waiting   int    `json:"waiting"`         // attachments that wait for it, as far as is known
	ForMS     num    `json:"forMs,omitempty"` // how long it was seen at least
	Command   string `json:"command,omitempty"`
	Mends     bool   `json:"mends"` // the command ends the trouble; else it shows more of it
}

// key is what stays the same of a trouble from look to look.
func (t trouble) key() string {
	parts := []string{t.Kind, t.Container, t.Segment, t.Part, strconv.Itoa(t.PID)}
	return strings.Join(parts, "\x00")
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
	if c.Watch {
		return c.watch(e)
	}
	all, err := c.look(e)
	if err != nil {
		return err
	}
	if c.JSON {
		err = e.json(all)
	} else {
		e.showTroubles(all)
	}
	return cmp.Or(err, failedIf(len(all) > 0))
}

// failedIf returns the error of a check that has found something.
func failedIf(found bool) error {
	if found {
		return exitError(exitFailed)
	}
	return nil
}

// look returns the troubles that there are, worst first.
func (c *checkCmd) look(e *env) ([]trouble, error) {
	k := &checkup{env: e, cmd: c, full: map[string]bool{}, all: []trouble{}}
	places := e.places()
	k.env = e.in(location{dir: e.dir})
	if err := cmp.Or(k.run(), e.signalled()); err != nil {
		return nil, err
	}
	all := k.all
	for _, p := range places {
		k := &checkup{env: e.in(p), cmd: c, full: k.full, all: []trouble{}}
		if err := k.run(); err != nil {
			continue // it is gone
		}
		for _, t := range k.all {
			t.Container = p.name
			all = append(all, t)
		}
	}
	least := ranks[c.Level]
	all = slices.DeleteFunc(all, func(t trouble) bool { return ranks[t.Level] > least })
	sortTroubles(all)
	return all, e.signalled()
}

// sortTroubles puts the worst first.
func sortTroubles(all []trouble) {
	slices.SortStableFunc(all, func(a, b trouble) int {
		return cmp.Or(cmp.Compare(ranks[a.Level], ranks[b.Level]),
			cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(a.Segment, b.Segment),
			cmp.Compare(a.Kind, b.Kind))
	})
}

// A checkEvent says that a trouble is new, or over.
type checkEvent struct {
	Time  moment `json:"time"`
	Event string `json:"event"`
	trouble
}

// The events of check --watch.
const (
	eventNew  = "new"
	eventOver = "over"
)

// watch looks again and again, and prints what has changed.
func (c *checkCmd) watch(e *env) error {
	var last []trouble
	err := e.ticks(nil, c.Interval, c.Count, func() error {
		all, err := c.look(e)
		if e.ctx.Err() != nil { // it ends as it would between two looks
			return nil
		}
		if err != nil {
			return err
		}
		now := time.Now()
		for _, ev := range slices.Concat(changed(now, eventOver, last, all),
			changed(now, eventNew, all, last)) {
			if c.JSON {
				err = e.jsonLine(ev)
			} else {
				e.showEvent(ev)
			}
			if err != nil {
				return err
			}
		}
		last = all
		return e.stdout.flush()
	})
	return cmp.Or(err, failedIf(len(last) > 0))
}

// changed returns an event for each trouble of a list that is not in another one.
func changed(now time.Time, what string, in, notIn []trouble) (all []checkEvent) {
	for _, t := range in {
		same := func(o trouble) bool { return o.key() == t.key() && o.Level == t.Level }
		if !slices.ContainsFunc(notIn, same) {
			all = append(all, checkEvent{moment(now), what, t})
		}
	}
	return all
}

// showEvent prints the time, what has happened, and the trouble.
func (e *env) showEvent(ev checkEvent) {
	fmt.Fprintf(e.out, "%s %s\n", e.style.faint(time.Time(ev.Time).Format(time.TimeOnly)), ev.Event)
	if ev.Event == eventOver {
		ev.Command = ""
	}
	e.showTrouble(ev.trouble)
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
	return nil
}

// add adds a trouble. A command that shows more, and one that is for another program to carry out,
// mends nothing.
func (k *checkup) add(t trouble) {
	t.Mends = t.Command != "" && !k.showsMore(t.Command)
	k.all = append(k.all, t)
}

// showsMore reports whether a command only looks.
func (k *checkup) showsMore(command string) bool {
	for _, verb := range []string{"ps", "stat", "ls"} {
		if shows := k.command(verb); command == shows || strings.HasPrefix(command, shows+" ") {
			return true
		}
	}
	return false
}

// blame fills in the process of a trouble.
func (t trouble) blame(p *proc, h inspect.Holder) trouble {
	t.PID = h.PID
	if p != nil {
		t.PID, t.Program, t.State = p.pid, p.name, p.state
	}
	return t
}

// showTrouble prints a trouble with its command.
func (e *env) showTrouble(t trouble) {
	const column = 10
	head := e.style.magenta(pad("warning", column))
	switch t.Level {
	case critical:
		head = e.style.red(pad("CRITICAL", column))
	case note:
		head = e.style.faint(pad("note", column))
	}
	text := t.Cause
	if t.Segment != "" {
		where := t.Segment
		if t.Container != "" {
			where += " in " + t.Container
		}
		text = where + ": " + text
	}
	for _, l := range fold(clean(text), max(e.width-column, 24)) {
		fmt.Fprintf(e.out, "%s%s\n", head, l)
		head = strings.Repeat(" ", column)
	}
	if t.Command != "" {
		more := ""
		if !t.Mends {
			more = e.style.faint("  # shows more")
		}
		fmt.Fprintf(e.out, "%s%s%s\n", head, e.style.cyan("→ "+clean(t.Command)), more)
	}
}

// showTroubles prints the troubles, and how many there are.
func (e *env) showTroubles(all []trouble) {
	count := map[string]uint64{}
	for _, t := range all {
		e.showTrouble(t)
		count[t.Level]++
	}
	if len(all) == 0 {
		fmt.Fprintln(e.out, e.style.green("nothing found in "+clean(e.dir)))
		return
	}
	fmt.Fprintln(e.out, e.style.faint(fmt.Sprintf("%d critical, %s, %s in %s", count[critical],
		plural(count[warning], "warning"), plural(count[note], "note"), clean(e.dir))))
}

// holder says which process a holder is, and what would make it let go.
func (k *checkup) holder(st *inspect.Status, h inspect.Holder) (p *proc, text string) {
	p = k.ps.of(h.PID, namespaceOf(st, h))
	switch {
	case !h.Alive:
		p = nil // the pid may be that of another process by now
		text = fmt.Sprintf("%s %d (dead)", cmp.Or(st.Program, "a process"), h.PID)
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
	return ownNamespace()
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
